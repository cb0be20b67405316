/** The flags of -D: each sets an int variable of a module, or of the server, before the module's `load`. */
import { initialEnvironment } from "./environment.ts";
import { log } from "./log.ts";
import { parseInteger } from "./size.ts";

export interface DebugFlag {
  /** The plugin or filter, or "nbdkit". */
  readonly name: string;
  /** As given: `a.b` means the variable `NAME_debug_a_b`. */
  readonly flag: string;
  readonly value: number;
}

const leastInt = -(1n << 31n);
const greatestInt = (1n << 31n) - 1n;

/** Parse `NAME.FLAG=N`, with N as strtol(3) reads it. Undefined for any other text. */
export function parseDebugFlag(text: string): DebugFlag | undefined {
  const [, name, flag, number] = /^([^.=]+)\.([^=]+)=(.+)$/s.exec(text) ?? [];
  if (name === undefined || flag === undefined || number === undefined) return undefined;
  const value = parseInteger(number);
  if (value === undefined || value < leastInt || value > greatestInt) return undefined;
  return { name, flag, value: Number(value) };
}

export class DebugFlags {
  readonly #flags: readonly DebugFlag[];
  readonly #used = new Set<DebugFlag>();

  constructor(flags: readonly DebugFlag[]) {
    this.#flags = flags;
  }

  /** Set the flags of a module. `set` returns false if there is no such variable. */
  apply(name: string, set: (variable: string, value: number) => boolean): void {
    for (const flag of this.#flags) {
      if (flag.name !== name) continue;
      this.#used.add(flag);
      const variable = `${name}_debug_${flag.flag.replaceAll(".", "_")}`;
      if (set(variable, flag.value)) continue;
      log.warning(
        `-D ${name}.${flag.flag}: ${name} does not contain a global variable called ${variable}`,
      );
    }
  }

  /** Set the server's own flags, and warn about flags of modules that are not in the chain. */
  finish(): void {
    this.apply("nbdkit", setOwn);
    for (const flag of this.#flags) {
      if (!this.#used.has(flag))
        log.warning(`debug flag -D ${flag.name}.${flag.flag} was not used`);
    }
  }
}

function setOwn(variable: string, value: number): boolean {
  switch (variable) {
    case "nbdkit_debug_backend_controlpath":
      log.controlpath = value !== 0;
      return true;
    case "nbdkit_debug_backend_datapath":
      log.datapath = value !== 0;
      return true;
    case "nbdkit_debug_tls_log":
      log.tlsLevel = value;
      return true;
    case "nbdkit_debug_tls_session":
      log.tlsSession = value !== 0;
      return true;
    case "nbdkit_debug_environ":
      if (value !== 0) initialEnvironment().forEach((word) => log.debug(word));
      return true;
    default:
      return false;
  }
}
