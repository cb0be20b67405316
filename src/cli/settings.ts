/** What a command line asks for, once it is parsed. */
import type { GenerationId } from "#abi/generation-ids";

import type { DebugFlag } from "../lib/debug-flags.ts";

/** One place where clients connect. */
export type Place =
  | { readonly kind: "unix"; readonly path: string }
  /** -U -: a socket that only this user can see, and that goes away with the server. */
  | { readonly kind: "private" }
  /** Without an address, all of this machine's. Port 0 means one that the kernel chooses. */
  | { readonly kind: "tcp"; readonly port: number; readonly address?: string }
  /** AF_VSOCK, from any context; the port has 32 bits. */
  | { readonly kind: "vsock"; readonly port: number };

/** `default`: on if certificates are found, else off without a word. */
export type TlsMode = "default" | "off" | "on" | "require";

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
  /** -4 or -6, whichever came last. */
  readonly ipFamily?: 4 | 6;
  readonly keepalive: boolean;
  readonly selinuxLabel?: string;
  readonly printUri: boolean;

  readonly tls: TlsMode;
  /** As it was given: a URI and --run show it so. */
  readonly tlsCertificates?: string;
  /** As it was given. Wins over certificates. */
  readonly tlsPsk?: string;
  /** A priority string of GnuTLS. */
  readonly tlsPriority?: string;
  readonly tlsVerifyPeer: boolean;

  readonly readonly: boolean;
  readonly exportName: string;
  /** -t, if it was given. */
  readonly threads: number | undefined;
  /** -o: the protocol without negotiation. */
  readonly oldstyle: boolean;
  /** The bits of the handshake's two flags that clients may see. */
  readonly maskHandshake: number;
  /** Refuse structured replies. */
  readonly noSr: boolean;
  /** Refuse meta contexts. */
  readonly noMc: boolean;
  /** How long a client may take to negotiate. */
  readonly timeoutSeconds?: number;
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
