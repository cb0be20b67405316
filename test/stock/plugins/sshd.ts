/** A real sshd on loopback with its own key, configuration and port, for one side of a case. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer, type Server } from "node:net";
import { join } from "node:path";

const path = Bun.which("sshd", { PATH: `${process.env["PATH"] ?? ""}:/usr/sbin` });

/** The `needs` of cases with sshd. */
export const sshdNeeds = ["ssh-keygen", ...(path === null ? ["sshd"] : [])];

/** Starts an sshd for each connection, as inetd does, so that the kernel can choose a free port. */
class Sshd {
  readonly #listener: Server;
  readonly #children = new Set<ChildProcess>();

  constructor(config: string) {
    this.#listener = createServer((socket) => {
      const child = spawn(path ?? "sshd", ["-i", "-e", "-f", config], {
        stdio: ["pipe", "pipe", "ignore"],
      });
      this.#children.add(child);
      child.once("exit", () => {
        this.#children.delete(child);
        socket.destroy();
      });
      for (const stream of [socket, child.stdin, child.stdout]) stream.on("error", () => {});
      socket.pipe(child.stdin);
      child.stdout.pipe(socket);
    });
  }

  async listen(): Promise<number> {
    this.#listener.listen(0, "127.0.0.1");
    await once(this.#listener, "listening");
    return (this.#listener.address() as AddressInfo).port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    const ended = [...this.#children].map((child) => once(child, "exit"));
    for (const child of this.#children) child.kill();
    await Promise.all(ended);
  }
}

/** Makes keys and a configuration in the folder (`key`, `known_hosts`, `port`), and starts the server. */
export async function sshd(folder: string, peers: AsyncDisposableStack): Promise<void> {
  const key = (name: string) =>
    Bun.$`ssh-keygen -q -t ed25519 -N "" -C ${name} -f ${join(folder, name)}`.quiet();
  await Promise.all([key("host_key"), key("key")]);
  writeFileSync(join(folder, "authorized_keys"), readFileSync(join(folder, "key.pub")));
  chmodSync(join(folder, "authorized_keys"), 0o600);
  const config = join(folder, "sshd_config");
  writeFileSync(
    config,
    [
      `HostKey ${join(folder, "host_key")}`,
      `AuthorizedKeysFile ${join(folder, "authorized_keys")}`,
      `PidFile none`,
      "PermitRootLogin prohibit-password",
      "PasswordAuthentication no",
      "StrictModes no",
      "UsePAM no",
      "Subsystem sftp internal-sftp",
      "",
    ].join("\n"),
  );
  // sshd requires this folder, which Debian's service makes.
  if (process.getuid?.() === 0) mkdirSync("/run/sshd", { recursive: true, mode: 0o755 });
  const server = peers.use(new Sshd(config));
  const port = await server.listen();
  writeFileSync(join(folder, "port"), String(port));
  const hostKey = readFileSync(join(folder, "host_key.pub"), "utf8");
  writeFileSync(join(folder, "known_hosts"), `[127.0.0.1]:${port} ${hostKey}`);
}

/** The parameters with which the plugin connects to it. */
export function sshParams(folder: string): string[] {
  return [
    "host=127.0.0.1",
    `port=${readFileSync(join(folder, "port"), "utf8")}`,
    `identity=${join(folder, "key")}`,
    `known-hosts=${join(folder, "known_hosts")}`,
    "config=",
  ];
}
