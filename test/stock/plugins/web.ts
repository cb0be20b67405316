/** An HTTP server on loopback that supports ranges, for one side of a case. */

/** A request: the method, the path, and the relevant headers. */
export type Request = Readonly<Record<string, string>>;

export class Web {
  readonly requests: Request[] = [];
  readonly disk: Uint8Array;
  readonly #server: Bun.Server<undefined>;

  constructor(disk: Uint8Array, socket?: string) {
    this.disk = disk;
    const fetch = (request: globalThis.Request) => this.#answer(request);
    this.#server = Bun.serve(
      socket === undefined ? { hostname: "127.0.0.1", port: 0, fetch } : { unix: socket, fetch },
    );
  }

  /** `http://127.0.0.1:PORT` */
  get origin(): string {
    return `http://127.0.0.1:${this.#server.port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.stop(true);
  }

  async #answer(request: globalThis.Request): Promise<Response> {
    const { pathname } = new URL(request.url);
    const seen: Record<string, string> = { method: request.method, path: pathname };
    for (const [name, value] of request.headers) {
      if (!["accept", "connection", "host", "referer"].includes(name)) seen[name] = value;
    }
    this.requests.push(seen);
    if (pathname === "/moved") return Response.redirect(`${this.origin}/disk`, 302);
    if (pathname === "/plain") return new Response(this.disk.slice());
    if (pathname === "/secret" && request.headers.get("authorization") === null) {
      return new Response("who?", { status: 401, headers: { "www-authenticate": "Basic" } });
    }
    if (!["/disk", "/secret"].includes(pathname)) return new Response("no", { status: 404 });
    if (request.method === "PUT") {
      const [, from] = /^bytes (\d+)-/.exec(request.headers.get("content-range") ?? "") ?? [];
      this.disk.set(await request.bytes(), Number(from));
      return new Response(null, { status: 204 });
    }
    return this.#part(request.headers.get("range"));
  }

  /** A range that begins in the last 512 bytes is refused, as an error of the server. */
  #part(range: string | null): Response {
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(range ?? "") ?? [];
    const all = this.disk.length;
    if (from === undefined || to === undefined) {
      return new Response(this.disk.slice(), { headers: { "accept-ranges": "bytes" } });
    }
    if (Number(from) >= all - 512) return new Response("broken", { status: 500 });
    return new Response(this.disk.slice(Number(from), Number(to) + 1), {
      status: 206,
      headers: { "accept-ranges": "bytes", "content-range": `bytes ${from}-${to}/${all}` },
    });
  }
}

/** The server of each side, by its folder. */
export class Webs {
  readonly #webs = new Map<string, Web>();

  readonly start = (folder: string, peers: AsyncDisposableStack): void => {
    const disk = Uint8Array.from({ length: 65536 }, (_, at) => at >> 8);
    this.#webs.set(folder, peers.use(new Web(disk)));
  };

  of(folder: string): Web {
    const web = this.#webs.get(folder);
    if (web === undefined) throw new Error(`no web server was started for ${folder}`);
    return web;
  }
}
