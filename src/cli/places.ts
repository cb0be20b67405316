/** Where clients connect: what -p, -i, -U, --vsock and --listen mean together. */
import { ConfigError } from "../lib/errors.ts";
import { absolutePath } from "../lib/paths.ts";
import { quoted } from "../lib/quoted.ts";
import { byteLengthOf, bytesOf, textOf } from "../lib/text-bytes.ts";
import { portNamed } from "../sys/process.ts";
import type { Place } from "./settings.ts";

export interface PlaceOptions {
  /** Of -p, in order. */
  readonly ports: readonly string[];
  /** Of -i, in order. */
  readonly addresses: readonly string[];
  /** Of -U, in order. */
  readonly sockets: readonly string[];
  /** Of --listen, in order. */
  readonly uris: readonly string[];
  readonly vsock: boolean;
  readonly run: boolean;
}

const defaultPort = 10809;
const mostPort = 65535;
const mostVsockPort = 4294967295;
/** The kernel's limit: sun_path has 108 bytes, and the last is a NUL. */
const longestSocketPath = 107;

/** No place comes twice: what nbdkit takes as "the last one counts" must not fail here. */
export function placesOf(given: PlaceOptions): readonly Place[] {
  const all = [
    ...given.sockets.map(unixPlace),
    ...portPlaces(given),
    ...given.uris.map((uri) => parseListen(uri, "--listen")),
  ];
  const places = all.length > 0 ? all : [defaultPlace(given)];
  const seen = new Set<string>();
  return places.filter((place) => {
    const key = keyOf(place);
    // Every port 0 is another one, and so is every private socket.
    const again =
      seen.has(key) && place.kind !== "private" && !("port" in place && place.port === 0);
    seen.add(key);
    return !again;
  });
}

function keyOf(place: Place): string {
  if (place.kind !== "unix") return JSON.stringify(place);
  return `unix ${place.path.replaceAll(/\/(?:\.?\/)+/g, "/")}`;
}

/** Since nbdkit 1.36 --run alone does not open a TCP port. */
function defaultPlace({ run }: PlaceOptions): Place {
  return run ? { kind: "private" } : { kind: "tcp", port: defaultPort };
}

function unixPlace(value: string): Place {
  return value === "-" ? { kind: "private" } : { kind: "unix", path: absolutePath(value) };
}

/** Of -p and -i: one of either kind goes with all of the other, and several go in pairs. */
function portPlaces({ ports, addresses, vsock, run, sockets, uris }: PlaceOptions): Place[] {
  const numbers = ports.map((text) => parsePort(text, "-p/--port", { vsock, named: !vsock }));
  if (vsock) {
    return (numbers.length > 0 ? numbers : [defaultPort]).map((port) => ({ kind: "vsock", port }));
  }
  const alone = sockets.length === 0 && uris.length === 0 && !run;
  // nbdkit listens on no address where something else is asked for, -i or not.
  if (numbers.length === 0 && (addresses.length === 0 || !alone)) return [];
  if (numbers.length > 1 && addresses.length > 1 && numbers.length !== addresses.length) {
    throw new ConfigError(
      `options -p/--port and -i/--ipaddr: ${numbers.length} ports and ${addresses.length} addresses: expected one of either, or as many of both`,
    );
  }
  const count = Math.max(numbers.length, addresses.length);
  return Array.from({ length: count }, (_, index): Place => {
    const port = (numbers.length > 1 ? numbers[index] : numbers[0]) ?? defaultPort;
    const address = addresses.length > 1 ? addresses[index] : addresses[0];
    return { kind: "tcp", port, ...(address === undefined ? {} : { address }) };
  });
}

/** Without --vsock, which may follow, a port has 16 bits; that is seen to when all is known. */
export function parsePort(
  value: string,
  shown: string,
  { vsock, named = false }: { readonly vsock: boolean; readonly named?: boolean },
): number {
  const most = vsock ? mostVsockPort : mostPort;
  if (/^[0-9]{1,10}$/.test(value) && Number(value) <= most) return Number(value);
  const port = named && /^[A-Za-z]/.test(value) ? portNamed(value) : undefined;
  if (port !== undefined) return port;
  // Where both may be meant, most mean TCP.
  const shownMost = vsock && named && !(Number(value) > mostPort) ? mostPort : most;
  const names = named ? ", or the name of a TCP service" : "";
  const accepted = `a port number from 0 to ${shownMost}${names}`;
  throw new ConfigError(`option ${shown}: ${quoted(value)}: expected ${accepted}`);
}

export function checkSocket(value: string, shown: string): void {
  if (value === "") {
    throw new ConfigError(
      `option ${shown}: "": expected the path of a socket, or - for a private one`,
    );
  }
  if (value === "-") return;
  const path = absolutePath(value);
  const bytes = byteLengthOf(path);
  if (bytes > longestSocketPath) {
    throw new ConfigError(
      `option ${shown}: the path of the socket has ${bytes} bytes: expected at most ${longestSocketPath}: ${path}`,
    );
  }
}

/** A URI as the NBD specification has them: nbd://HOST:PORT, nbd+unix:///?socket=PATH, nbd+vsock://:PORT. */
export function parseListen(value: string, shown: string): Place {
  const refuse = (accepted: string): never => {
    throw new ConfigError(`option ${shown}: ${quoted(value)}: expected ${accepted}`);
  };
  const unix = /^nbd\+unix:\/\/\/?\?socket=(.+)$/s.exec(value)?.[1];
  if (unix !== undefined) {
    const path = percentDecoded(unix) ?? refuse("a path with correct percent signs");
    checkSocket(path, shown);
    return unixPlace(path);
  }
  const [, vsock, host = "", port] =
    /^nbd(\+vsock)?:\/\/(\[[^\]/]*\]|[^:/[\]]*)(?::([0-9]+))?\/?$/.exec(value) ??
    refuse("nbd://HOST:PORT, nbd+unix:///?socket=PATH or nbd+vsock://:PORT");
  const number =
    port === undefined ? defaultPort : parsePort(port, shown, { vsock: vsock !== undefined });
  if (vsock !== undefined) {
    if (host !== "") refuse("no context in front of the port: clients of all contexts are served");
    return { kind: "vsock", port: number };
  }
  const address = host.replace(/^\[(.*)\]$/, "$1");
  return { kind: "tcp", port: number, ...(address === "" ? {} : { address }) };
}

function percentDecoded(text: string): string | undefined {
  if (/%(?![0-9A-Fa-f]{2})|%00/.test(text)) return undefined;
  // Each byte as the character of its number, until all of them are there.
  const bytes = Buffer.from(bytesOf(text)).toString("latin1");
  const decoded = bytes.replaceAll(/%(..)/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 16)),
  );
  return textOf(Buffer.from(decoded, "latin1"));
}
