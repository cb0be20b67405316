/** Opens a library by its name through bun:ffi, which also looks in the current folder. */
import { dlopen } from "bun:ffi";

dlopen("libnbdkit-trap.so", { nothing: { returns: "i32" } });
