/** The genuine delay filter: it delays requests. */
import { refuses } from "../cases.ts";
import { stock } from "../stock.ts";

stock("delay delays each kind of request by its own time", {
  filters: ["delay"],
  plugin: "memory",
  params: () => [
    "1M",
    "delay-open=21ms",
    "delay-read=22ms",
    "wdelay=23ms",
    "delay-extents=24ms",
    "delay-cache=25ms",
  ],
  see: `
def waits (ms, call):
    return took (call) >= ms / 1000
show ([waits (21, client), waits (22, lambda: h.pread (1, 0)), waits (23, lambda: h.pwrite (b"x", 0)),
       waits (23, lambda: h.zero (1, 0)), waits (23, lambda: h.trim (1, 0)), waits (24, lambda: extents (512, 0)),
       waits (25, lambda: h.cache (1, 0)), h.pread (2, 0)])
`,
  expected: [true, true, true, true, true, true, true, "0000"],
});

stock("delay delays no other requests, and ends when the client leaves", {
  filters: ["delay"],
  plugin: "memory",
  params: () => ["1M", "rdelay=3600", "delay-zero=1ms", "delay-fast-zero=false"],
  see: `
h.aio_pread (nbd.Buffer (512), 0)
h.pwrite (b"x", 0)
show ([errno (lambda: h.zero (512, 0, nbd.CMD_FLAG_FAST_ZERO)), errno (lambda: h.zero (512, 0)),
       h.can_fast_zero (), h.aio_in_flight ()])
`,
  expected: ["ENOTSUP", null, true, 1],
});

refuses("delay refuses a time that is not a number", {
  filters: ["delay"],
  plugin: "memory",
  params: () => ["1M", "rdelay=soon"],
  error: "rdelay: empty string where we expected a number",
  differs: {
    why: "ours names the value and what is accepted; the value is not an empty string",
    error:
      'rdelay: could not parse number: "soon": expected a decimal, octal (0...) or hexadecimal (0x...) number',
  },
});
