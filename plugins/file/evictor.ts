/** cache=none: asks the kernel to drop read or written data from the page cache. */
import { type Calls } from "./calls.ts";
import { writtenRanges } from "./limits.ts";

interface Range {
  readonly offset: bigint;
  readonly count: number;
}

export class Evictor {
  readonly fd: number;
  readonly calls: Pick<Calls, "advise">;
  private written: Range[] = [];

  constructor(fd: number, calls: Pick<Calls, "advise">) {
    this.fd = fd;
    this.calls = calls;
  }

  read(offset: bigint, count: number): Promise<void> {
    return this.drop({ offset, count });
  }

  /**
   * The kernel drops only clean pages. The first advice makes it start to write the range; the
   * second one, some writes later, drops it.
   */
  async wrote(offset: bigint, count: number): Promise<void> {
    const range = { offset, count };
    this.written.push(range);
    const oldest = this.written.length > writtenRanges ? this.written.shift() : undefined;
    await this.drop(range);
    if (oldest !== undefined) await this.drop(oldest);
  }

  /** All written data is on the disk. */
  async flushed(): Promise<void> {
    const { written } = this;
    this.written = [];
    for (const range of written) await this.drop(range);
  }

  private drop({ offset, count }: Range): Promise<void> {
    return this.calls.advise(this.fd, offset, count, "dontneed");
  }
}
