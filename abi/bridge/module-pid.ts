/** The number of the process that C modules get from getpid(2). */

let shown = 0;
let tell: ((pid: number) => void) | undefined;

/** Let modules see this number; 0 for that of this process. */
export function showPid(pid: number): void {
  shown = pid;
  tell?.(pid);
}

/** `to` gets the number now and whenever it changes. */
export function onShownPid(to: (pid: number) => void): void {
  tell = to;
  to(shown);
}
