/** The process ID that getpid(2) returns to C modules. */

let shown = 0;
let notify: ((pid: number) => void) | undefined;

/** Let getpid(2) return this number to modules; 0 for the number of this process. */
export function showPid(pid: number): void {
  shown = pid;
  notify?.(pid);
}

/** Call `to` with the number, now and whenever it changes. */
export function onShownPid(to: (pid: number) => void): void {
  notify = to;
  to(shown);
}
