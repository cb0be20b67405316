/** NBD URIs of the server, for --run and --print-uri: the NBD project's doc/uri.md. */
import { log } from "../lib/log.ts";
import { quoted } from "../lib/quoted.ts";
import { bytesOf } from "../lib/text-bytes.ts";
import type { Address } from "../server/sockets.ts";
import type { Settings } from "./settings.ts";

/** The settings that clients need besides the address. The TLS mode is the actual one, never `default`. */
export type UriOptions = Pick<Settings, "exportName" | "sockets" | "tls">;

export function uriOf(address: Address, options: UriOptions): string {
  const { exportName, sockets, tls } = options;
  // If the server only offers TLS, clients may connect without it, and need no credentials.
  const required = tls.mode === "require";
  const scheme = required ? "nbds" : "nbd";
  const path = exportName === "" ? "" : `/${percentEncode(exportName)}`;
  const query = required ? credentials(tls) : [];
  if ("unix" in address) query.unshift(`socket=${percentEncode(address.unix)}`);
  const tail = query.length === 0 ? "" : `?${query.join("&")}`;
  return scheme + authorityOf(address, sockets.ipFamily) + path + tail;
}

function authorityOf(address: Address, family: 4 | 6 | undefined): string {
  if ("unix" in address) return "+unix://";
  // CID 1 is this machine itself.
  if ("vsock" in address) return `+vsock://1:${address.vsock}`;
  return `://${hostOf(address.address, family)}:${address.port}`;
}

function credentials({ certificates, psk }: UriOptions["tls"]): string[] {
  if (psk !== undefined) return [`tls-psk-file=${percentEncode(psk)}`];
  return certificates === undefined ? [] : [`tls-certificates=${percentEncode(certificates)}`];
}

/** Clients on this machine use localhost unless the address is a particular one. localhost may lack IPv6. */
function hostOf(host: string | undefined, family: 4 | 6 | undefined): string {
  if (host === undefined) return family === 6 ? "[::1]" : "localhost";
  if (/^(localhost|127\.0\.0\.1|0\.0\.0\.0)$/.test(host)) return "localhost";
  if (host === "::") return "[::1]";
  return host.includes(":") ? `[${percentEncode(host).replaceAll("%3A", ":")}]` : host;
}

/** Everything but unreserved characters and /. */
function percentEncode(text: string): string {
  return [...bytesOf(text)]
    .map((byte) => {
      const character = String.fromCharCode(byte);
      if (/[A-Za-z0-9._~/-]/.test(character)) return character;
      return `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
    })
    .join("");
}

/** A URI for a shell, as nbdkit prints it. Characters that double quotes do not protect are percent-encoded. */
function shellQuoted(uri: string): string {
  return /^[A-Za-z0-9._/:=,-]+$/.test(uri) ? uri : `"${uri}"`;
}

/** For a shell, always in quotes. */
export function quote(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

/** A socket without a name, or an abstract one, whose name starts with a NUL, has no URI. */
export function canHaveUri(address: Address): boolean {
  return !("unix" in address) || /^[^\0]/.test(address.unix);
}

function hasUri(address: Address): address is Address {
  if (!("unix" in address) || canHaveUri(address)) return true;
  log.warning(`option --print-uri: there is no URI for the socket ${quoted(address.unix)}`);
  return false;
}

/** The output of --print-uri, as in nbdkit: for each place the URI, the quoted URI, and a command to paste. */
export function printedUris(addresses: readonly Address[], options: UriOptions): string {
  return addresses
    .filter(hasUri)
    .map((address) => {
      const uri = uriOf(address, options);
      const word = shellQuoted(uri);
      return `${uri}\nShell-quoted URI: ${word}\nCommand to query the NBD endpoint:\n  nbdinfo ${word}\n`;
    })
    .join("");
}
