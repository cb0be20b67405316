/** A torrent, a tracker on loopback and a peer with the whole torrent, for one side of a case. */
import { createHash } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

import { installed, serve, until } from "#test/server";

type Bencoded = number | string | Uint8Array | Bencoded[] | { [key: string]: Bencoded };

function bencode(value: Bencoded): Buffer {
  if (typeof value === "number") return Buffer.from(`i${value}e`);
  if (typeof value === "string") return bencode(Buffer.from(value));
  if (value instanceof Uint8Array) return Buffer.concat([Buffer.from(`${value.length}:`), value]);
  if (Array.isArray(value))
    return Buffer.concat([Buffer.from("l"), ...value.map(bencode), Buffer.from("e")]);
  const items = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1));
  const inner = items.flatMap(([key, item]) => [bencode(key), bencode(item)]);
  return Buffer.concat([Buffer.from("d"), ...inner, Buffer.from("e")]);
}

const pieceLength = 16384;

/** The files of the torrent. */
export const content: Readonly<Record<string, Uint8Array>> = {
  README: Buffer.from("not the largest\n"),
  "images/disk.iso": Uint8Array.from({ length: 300_000 }, (_, at) => (at * 7 + (at >> 8)) & 0xff),
};

/** Writes the files into a folder with the torrent's name, as a client keeps them. */
export function writeContent(cache: string): void {
  for (const [path, data] of Object.entries(content)) {
    const target = join(cache, "stock", path);
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, data);
  }
}

/** Sends each peer the ports of the others. */
class Tracker {
  readonly #peers = new Map<string, { port: number; complete: boolean }>();
  readonly #server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: ({ url }) => this.#announce(new URL(url).search),
  });

  get url(): string {
    return `http://127.0.0.1:${this.#server.port}/announce`;
  }

  get complete(): boolean {
    return [...this.#peers.values()].some(({ complete }) => complete);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.stop(true);
  }

  #announce(search: string): Response {
    // A peer's id may not be UTF-8, so it is compared in encoded form.
    const given = new Map(
      search
        .slice(1)
        .split("&")
        .map((item) => item.split("=", 2) as [string, string]),
    );
    const id = given.get("peer_id") ?? "";
    const others = [...this.#peers].flatMap(([peer, { port }]) => (peer === id ? [] : [port]));
    this.#peers.set(id, { port: Number(given.get("port")), complete: given.get("left") === "0" });
    const peers = Buffer.concat(
      others.map((port) => Buffer.from([127, 0, 0, 1, port >> 8, port & 255])),
    );
    return new Response(bencode({ interval: 1800, peers }).slice());
  }
}

/** Writes the torrent for a tracker as `stock.torrent`. Returns its info hash. */
export function writeTorrent(folder: string, announce: string): string {
  const all = Buffer.concat(Object.values(content));
  const hashes: Buffer[] = [];
  for (let at = 0; at < all.length; at += pieceLength) {
    hashes.push(
      createHash("sha1")
        .update(all.subarray(at, at + pieceLength))
        .digest(),
    );
  }
  const files = Object.entries(content).map(([path, { length }]) => ({
    length,
    path: path.split("/"),
  }));
  const info = {
    files,
    name: "stock",
    "piece length": pieceLength,
    pieces: Buffer.concat(hashes),
    private: 1,
  };
  writeFileSync(join(folder, "stock.torrent"), bencode({ announce, info }));
  return createHash("sha1").update(bencode(info)).digest("hex");
}

/** Parameters that keep a client on loopback, on a port that the kernel chooses. */
export const loopback = ["listen-interfaces=127.0.0.1:0", "outgoing-interfaces=127.0.0.1"];

/** Starts a tracker, and nbdkit as a peer with the whole torrent. */
export async function swarm(folder: string, peers: AsyncDisposableStack): Promise<void> {
  if (!installed("nbdkit")) return;
  const tracker = peers.use(new Tracker());
  writeTorrent(folder, tracker.url);
  const cache = join(folder, "first");
  writeContent(cache);
  const torrent = join(folder, "stock.torrent");
  peers.use(
    await serve(["torrent", torrent, `cache=${cache}`, ...loopback], { program: ["nbdkit"] }),
  );
  await until(() => tracker.complete);
}
