/** Opens a library by its name, as bun:ffi does it: also in the current folder. */
import { dlopen } from "bun:ffi";

dlopen("libnbdkit-trap.so", { nothing: { returns: "i32" } });
