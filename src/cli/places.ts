/** Where clients connect: combines -p, -i, -U, --vsock and --listen. */
import { ConfigError } from "../lib/errors.ts";
import { absolutePath } from "../lib/paths.ts";
import { byteLengthOf, bytesOf, textOf } from "../lib/text-bytes.ts";
import { portNamed } from "../sys/process.ts";
import type { GivenPlaces, GivenPort, Place } from "./settings.ts";
import { refuse } from "./values.ts";

const defaultPort = 10809;
const mostPort = 65535;
const mostVsockPort = 4294967295;
/** The kernel's limit: sun_path has 108 bytes, and the last is a NUL. */
const longestSocketPath = 107;

/**
 * `run`: the server serves the command of --run. Duplicate places are removed: nbdkit uses the last
 * of several equal options, so a repeated one must not fail here.
 */
export function placesOf(given: GivenPlaces, run: boolean): readonly Place[] {
  const all = [...given.sockets, ...portPlaces(given, run), ...given.uris];
  const places = all.length > 0 ? all : [defaultPlace(run)];
  const seen = new Set<string>();
  return places.filter((place) => {
    const key = keyOf(place);
    // Each port 0 is a different port, and each private socket a different socket.
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
function defaultPlace(run: boolean): Place {
  return run ? { kind: "private" } : { kind: "tcp", port: defaultPort };
}

/** -p and -i: a single port or address applies to all of the other kind, and several form pairs. */
function portPlaces(given: GivenPlaces, run: boolean): Place[] {
  const { ports, addresses, vsock, sockets, uris } = given;
  const numbers = ports.map(vsock ? vsockPort : tcpPort);
  if (vsock) {
    return (numbers.length > 0 ? numbers : [defaultPort]).map((port) => ({ kind: "vsock", port }));
  }
  const alone = sockets.length === 0 && uris.length === 0 && !run;
  // As in nbdkit, other places replace TCP, even with -i.
  if (numbers.length === 0 && (addresses.length === 0 || !alone)) return [];
  if (numbers.length > 1 && addresses.length > 1 && numbers.length !== addresses.length) {
    throw new ConfigError(
      `options -p/--port and -i/--ipaddr: ${numbers.length} ports and ${addresses.length} addresses: expected one port, one address, or as many ports as addresses`,
    );
  }
  const count = Math.max(numbers.length, addresses.length);
  return Array.from({ length: count }, (_, index): Place => {
    const port = (numbers.length > 1 ? numbers[index] : numbers[0]) ?? defaultPort;
    const address = addresses.length > 1 ? addresses[index] : addresses[0];
    return { kind: "tcp", port, ...(address === undefined ? {} : { address }) };
  });
}

/** Any port of TCP or AF_VSOCK: --vsock may follow. */
export function parsePort(text: string, shown: string): GivenPort {
  const number =
    portNumber(text, mostVsockPort) ?? (/^[A-Za-z]/.test(text) ? portNamed(text) : undefined);
  // For the message: most users mean TCP.
  const most = Number(text) > mostPort ? mostVsockPort : mostPort;
  return {
    text,
    number: number ?? refuse(shown, text, `${portsTo(most)}, or the name of a TCP service`),
  };
}

function tcpPort({ number, text }: GivenPort): number {
  if (number <= mostPort) return number;
  return refuse("-p/--port", text, `${portsTo(mostPort)}, or the name of a TCP service`);
}

/** These ports have no names. */
function vsockPort({ text }: GivenPort): number {
  return portNumber(text, mostVsockPort) ?? refuse("-p/--port", text, portsTo(mostVsockPort));
}

function portNumber(text: string, most: number): number | undefined {
  return /^[0-9]{1,10}$/.test(text) && Number(text) <= most ? Number(text) : undefined;
}

function portsTo(most: number): string {
  return `a port number from 0 to ${most}`;
}

export function parseSocket(value: string, shown: string): Place {
  if (value === "") refuse(shown, value, "the path of a socket, or - for a private one");
  if (value === "-") return { kind: "private" };
  const path = absolutePath(value);
  const bytes = byteLengthOf(path);
  if (bytes <= longestSocketPath) return { kind: "unix", path };
  throw new ConfigError(
    `option ${shown}: the path of the socket has ${bytes} bytes: expected at most ${longestSocketPath}: ${path}`,
  );
}

/** A URI as the NBD specification has them: nbd://HOST:PORT, nbd+unix:///?socket=PATH, nbd+vsock://:PORT. */
export function parseListen(value: string, shown: string): Place {
  const wrong = (accepted: string): never => refuse(shown, value, accepted);
  const unix = /^nbd\+unix:\/\/\/?\?socket=(.+)$/s.exec(value)?.[1];
  if (unix !== undefined) {
    const path = percentDecoded(unix) ?? wrong("a path with correct percent signs");
    return parseSocket(path, shown);
  }
  const [, vsock, host = "", port] =
    /^nbd(\+vsock)?:\/\/(\[[^\]/]*\]|[^:/[\]]*)(?::([0-9]+))?\/?$/.exec(value) ??
    wrong("nbd://HOST:PORT, nbd+unix:///?socket=PATH or nbd+vsock://:PORT");
  const most = vsock === undefined ? mostPort : mostVsockPort;
  const number =
    port === undefined
      ? defaultPort
      : (portNumber(port, most) ?? refuse(shown, port, portsTo(most)));
  if (vsock !== undefined) {
    if (host !== "") wrong("no context in front of the port: clients of all contexts are served");
    return { kind: "vsock", port: number };
  }
  const address = host.replace(/^\[(.*)\]$/, "$1");
  return { kind: "tcp", port: number, ...(address === "" ? {} : { address }) };
}

function percentDecoded(text: string): string | undefined {
  if (/%(?![0-9A-Fa-f]{2})|%00/.test(text)) return undefined;
  // Each byte becomes the character of its number, until all are decoded.
  const bytes = Buffer.from(bytesOf(text)).toString("latin1");
  const decoded = bytes.replaceAll(/%(..)/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 16)),
  );
  return textOf(Buffer.from(decoded, "latin1"));
}
