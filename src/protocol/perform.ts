/** Runs the requests that are neither READ nor WRITE. */
import { FLAG_FAST_ZERO, FLAG_FUA, FLAG_MAY_TRIM } from "../api/generated/constants.gen.ts";
import type { Awaitable, NextOps } from "../api/generated/methods.gen.ts";
import {
  CMD_CACHE,
  CMD_FLAG_FAST_ZERO,
  CMD_FLAG_FUA,
  CMD_FLAG_NO_HOLE,
  CMD_FLUSH,
  CMD_TRIM,
  CMD_WRITE_ZEROES,
} from "./constants.ts";

/** The request was checked: its type is one of these. */
export function perform(
  top: NextOps,
  type: number,
  flags: number,
  offset: bigint,
  count: number,
): Awaitable<void> {
  const fua = flags & CMD_FLAG_FUA ? FLAG_FUA : 0;
  switch (type) {
    case CMD_FLUSH:
      return top.flush(0);
    case CMD_TRIM:
      return top.trim(count, offset, fua);
    case CMD_CACHE:
      return top.cache(count, offset, 0);
    case CMD_WRITE_ZEROES: {
      const mayTrim = flags & CMD_FLAG_NO_HOLE ? 0 : FLAG_MAY_TRIM;
      const fast = flags & CMD_FLAG_FAST_ZERO ? FLAG_FAST_ZERO : 0;
      return top.zero(count, offset, fua | mayTrim | fast);
    }
    default:
      throw new Error(`request type ${type} was not checked`);
  }
}
