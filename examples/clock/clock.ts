/** A read-only disk that contains the time. The manual is README.md, beside this file. */
import { ConfigError, definePlugin, param } from "#api";

const sizeBytes = 512;

/** The time in a time zone as a line of text, then spaces and a line feed at the very end of the disk. */
function page(zone: string, now: Date): Uint8Array {
  const text = new Intl.DateTimeFormat("sv-SE", {
    timeZone: zone,
    dateStyle: "short",
    timeStyle: "medium",
  }).format(now);
  const disk = new Uint8Array(sizeBytes).fill(0x20);
  new TextEncoder().encodeInto(`${text} ${zone}\n`, disk);
  disk[sizeBytes - 1] = 0x0a;
  return disk;
}

export default definePlugin({
  name: "clock",
  longName: "nbdkit clock plugin",
  description: "A disk of 512 bytes that contains the time of the connection.",
  magicConfigKey: "zone",
  params: {
    zone: param.string({ default: "UTC", help: "The time zone, e.g. Europe/Oslo." }),
  },

  configComplete({ zone }) {
    try {
      page(zone, new Date());
    } catch (error) {
      throw new ConfigError(`zone=${zone}: expected a time zone such as Europe/Oslo`, {
        cause: error,
      });
    }
  },

  // One handle per connection: a client that reads twice, or in parts, gets the same time.
  open: ({ zone }) => page(zone, new Date()),

  getSize: () => BigInt(sizeBytes),

  pread(disk, buf, offset) {
    const start = Number(offset);
    buf.set(disk.subarray(start, start + buf.length));
  },
});
