/** The fields that the options fill, and the settings that the server gets. */
import type { ChosenLayout } from "#abi/recognise/releases";

import type { DebugFlag } from "../lib/debug-flags.ts";
import type { ProtocolPolicy } from "../protocol/policy.ts";
import type { SocketOptions } from "../server/sockets.ts";
import type { TlsOptions } from "../server/tls.ts";

/** One place where clients connect. */
export type Place =
  | { readonly kind: "unix"; readonly path: string }
  /** -U -: a socket that only this user can reach, and that is removed with the server. */
  | { readonly kind: "private" }
  /** Without an address, all addresses of this machine. Port 0: the kernel chooses one. */
  | { readonly kind: "tcp"; readonly port: number; readonly address?: string }
  /** AF_VSOCK, from any context; the port has 32 bits. */
  | { readonly kind: "vsock"; readonly port: number };

/** The destination of error lines. `default`: stderr, but the system log for a daemon. */
export type LogTarget = "default" | "null" | "stderr" | "syslog" | { readonly file: string };

/** The options that choose what the program does. */
export interface Asked {
  readonly help: boolean;
  readonly version: boolean;
  readonly dumpPlugin: boolean;
  readonly inspect: boolean;
  readonly json: boolean;
}

/** The values of the options that say where clients connect, in the order of the command line. */
export interface GivenPlaces {
  readonly ports: readonly GivenPort[];
  readonly addresses: readonly string[];
  readonly sockets: readonly Place[];
  readonly uris: readonly Place[];
  readonly vsock: boolean;
}

/** A port of TCP or, with --vsock, of AF_VSOCK. `text` is the value as given: services have names for TCP only. */
export interface GivenPort {
  readonly number: number;
  readonly text: string;
}

interface Groups {
  readonly asked: Asked;
  readonly places: GivenPlaces;
  readonly policy: ProtocolPolicy;
  readonly sockets: SocketOptions;
  readonly tls: TlsOptions;
}

/** The options that the server keeps. */
export interface GivenSettings extends Omit<Groups, "asked" | "places"> {
  /** Outermost first. */
  readonly filters: readonly string[];
  /** By the filter as --filter names it. */
  readonly releases: ReadonlyMap<string, ChosenLayout>;
  readonly debugFlags: readonly DebugFlag[];
  /** -s: one client, on stdin and stdout. */
  readonly single: boolean;
  readonly printUri: boolean;
  readonly exportName: string;
  /** The time limit for layers to answer when the server ends; 0: no limit. */
  readonly shutdownSeconds: number;
  readonly foreground: boolean;
  /** An absolute path. */
  readonly pidFile: string | undefined;
  readonly run: string | undefined;
  readonly exitWithParent: boolean;
  /** A name or a number. */
  readonly user: string | undefined;
  /** A name or a number. */
  readonly group: string | undefined;
  /** Lock all memory. */
  readonly swap: boolean;
  /** The name of this server in its messages, besides nbdkit. */
  readonly name: string | undefined;
  readonly log: LogTarget;
  readonly verbose: boolean;
}

/** All options. Each field is the target of a row in options.ts. */
export type Given = Groups & GivenSettings;

/** A field, or a field of a group: `policy.readonly`. */
export type Target =
  | Exclude<keyof Given, keyof Groups>
  | { [G in keyof Groups]: `${G}.${keyof Groups[G] & string}` }[keyof Groups];

export type TargetValue<T extends Target> = T extends `${infer G extends keyof Groups}.${infer F}`
  ? Groups[G][F & keyof Groups[G]]
  : T extends keyof Given
    ? Given[T]
    : never;

/** --run, --exit-with-parent and -s imply `foreground`. */
export interface Settings extends GivenSettings {
  readonly plugin: string;
  /** The arguments after the plugin: `key=value` or values without a key. */
  readonly parameters: readonly string[];
  /** All places at once; none with -s. No two are the same. */
  readonly listen: readonly Place[];
  /** The given options that say where clients connect, for messages: socket activation refuses them. */
  readonly listenOptions: readonly string[];
}
