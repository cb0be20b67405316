/** A registry of container images on loopback, with one image, for one side of a case. */
import { createHash } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const digest = (data: Uint8Array) => `sha256:${createHash("sha256").update(data).digest("hex")}`;

/** A tar archive of one file, for a layer of the image. */
function archive(name: string, data: Uint8Array): Uint8Array {
  const header = Buffer.alloc(512);
  const octal = (value: number, at: number, size: number) =>
    header.write(`${value.toString(8).padStart(size - 1, "0")}\0`, at, "latin1");
  header.write(name, 0);
  octal(0o644, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(data.length, 124, 12);
  octal(0, 136, 12);
  header.write("        0", 148);
  header.write("ustar\u000000", 257);
  octal(
    header.reduce((sum, byte) => sum + byte),
    148,
    7,
  );
  const end = Buffer.alloc(1024 + ((512 - (data.length % 512)) % 512));
  return Buffer.concat([header, data, end]);
}

export class Registry {
  readonly #blobs = new Map<string, Uint8Array>();
  readonly #manifest: Uint8Array;
  readonly #server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: ({ url }) => this.#answer(new URL(url).pathname),
  });

  constructor(files: readonly (readonly [name: string, data: Uint8Array])[]) {
    const layers = files.map(([name, data]) => this.#add("layer.v1.tar", archive(name, data)));
    const config = {
      architecture: "amd64",
      os: "linux",
      config: {},
      rootfs: { type: "layers", diff_ids: layers.map((layer) => layer.digest) },
    };
    const manifest = {
      schemaVersion: 2,
      mediaType: "application/vnd.oci.image.manifest.v1+json",
      config: this.#add("config.v1+json", Buffer.from(JSON.stringify(config))),
      layers,
    };
    this.#manifest = Buffer.from(JSON.stringify(manifest));
  }

  /** `127.0.0.1:PORT` */
  get host(): string {
    return `127.0.0.1:${this.#server.port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.stop(true);
  }

  #add(type: string, data: Uint8Array) {
    const key = digest(data);
    this.#blobs.set(key, data);
    return {
      mediaType: `application/vnd.oci.image.${type}`,
      digest: key,
      size: data.length,
    };
  }

  #answer(path: string): Response {
    if (path === "/v2/") return new Response("{}");
    if (/^\/v2\/[a-z]+\/manifests\//.test(path)) {
      return new Response(this.#manifest.slice(), {
        headers: {
          "content-type": "application/vnd.oci.image.manifest.v1+json",
          "docker-content-digest": digest(this.#manifest),
        },
      });
    }
    const [, key = ""] = /^\/v2\/[a-z]+\/blobs\/(.*)$/.exec(path) ?? [];
    const blob = this.#blobs.get(key);
    return blob === undefined ? new Response("{}", { status: 404 }) : new Response(blob.slice());
  }
}

/**
 * Configures podman to keep images in the folder and to use the registry without TLS. The plugin of release 1.32.5
 * reads a manifest.json, which podman 4 does not write with `--format oci-dir`, so a script named podman asks the real
 * one for another format.
 */
export function podman(folder: string, host: string): void {
  const write = (name: string, lines: readonly string[]) =>
    writeFileSync(join(folder, name), [...lines, ""].join("\n"));
  write("storage.conf", [
    "[storage]",
    'driver = "vfs"',
    `graphroot = "${join(folder, "graph")}"`,
    `runroot = "${join(folder, "run")}"`,
  ]);
  write("registries.conf", ["[[registry]]", `location = "${host}"`, "insecure = true"]);
  mkdirSync(join(folder, "bin"));
  const real = Bun.which("podman") ?? "podman";
  const script = [
    "#!/bin/sh",
    'case "$1 $2 $3" in',
    '  "save --format oci-dir") shift 3; set -- save --format docker-dir "$@" ;;',
    "esac",
    `exec ${real} --tmpdir ${join(folder, "tmp")} "$@"`,
  ].join("\n");
  writeFileSync(join(folder, "bin", "podman"), script, { mode: 0o755 });
}

export const podmanEnv = (folder: string): Record<string, string> => ({
  CONTAINERS_STORAGE_CONF: join(folder, "storage.conf"),
  CONTAINERS_REGISTRIES_CONF: join(folder, "registries.conf"),
  PATH: `${join(folder, "bin")}:${process.env["PATH"] ?? ""}`,
  TMPDIR: folder,
});
