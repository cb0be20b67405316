/** What a command line asks for, once it is parsed. */
import type { GenerationId } from "#abi/recognise/generation-ids";

import type { DebugFlag } from "../lib/debug-flags.ts";
import type { ProtocolPolicy } from "../protocol/policy.ts";
import type { SocketOptions } from "../server/sockets.ts";
import type { TlsOptions } from "../server/tls.ts";

/** One place where clients connect. */
export type Place =
  | { readonly kind: "unix"; readonly path: string }
  /** -U -: a socket that only this user can see, and that goes away with the server. */
  | { readonly kind: "private" }
  /** Without an address, all of this machine's. Port 0 means one that the kernel chooses. */
  | { readonly kind: "tcp"; readonly port: number; readonly address?: string }
  /** AF_VSOCK, from any context; the port has 32 bits. */
  | { readonly kind: "vsock"; readonly port: number };

/** Where error lines go. `default`: stderr, but the system's log for a daemon. */
export type LogTarget = "default" | "null" | "stderr" | "syslog" | { readonly file: string };

export interface Settings {
  readonly plugin: string;
  /** Outermost first. */
  readonly filters: readonly string[];
  readonly generations: ReadonlyMap<string, GenerationId>;
  readonly debugFlags: readonly DebugFlag[];
  /** What follows the plugin: `key=value` or bare values. */
  readonly parameters: readonly string[];

  /** All places at once; none with -s. No two are the same. */
  readonly listen: readonly Place[];
  /** -s: one client, on stdin and stdout. */
  readonly single: boolean;
  /** The options that say where clients come from, as they are shown: socket activation takes none of them. */
  readonly listenOptions: readonly string[];
  readonly sockets: SocketOptions;
  readonly tls: TlsOptions;
  readonly policy: ProtocolPolicy;
  readonly printUri: boolean;
  readonly exportName: string;
  /** What layers may take to answer when the server ends; 0: as long as they want. */
  readonly shutdownSeconds: number;

  /** Also where --run, --exit-with-parent or -s imply it. */
  readonly foreground: boolean;
  /** An absolute path. */
  readonly pidFile?: string;
  readonly run?: string;
  readonly exitWithParent: boolean;
  /** A name or a number. */
  readonly user?: string;
  /** A name or a number. */
  readonly group?: string;
  /** Lock all memory. */
  readonly swap: boolean;
  /** What its messages call this server, besides nbdkit. */
  readonly name?: string;
  readonly log: LogTarget;
  readonly verbose: boolean;
}
