/** The genuine ip filter: it decides which clients may connect. Debian's build accepts address families only. */
import { type CommandSide, nbdsh, serveTcp, stock, stockCommand, withErrors } from "../stock.ts";

const uid = process.getuid?.() ?? 0;
const gid = process.getgid?.() ?? 0;

const waiting = new Map<string, Bun.Subprocess<"pipe", "pipe">>();

/** Whether a client may connect by a Unix socket under each of some rules. */
const rules = [
  {
    title: "accepts Unix sockets that are allowed",
    rules: ["allow=anyunix", "deny=all"],
    may: true,
  },
  {
    title: "refuses clients that are not allowed",
    rules: ["allow=anyipv4,anyipv6,allvsock", "deny=all"],
    may: false,
  },
  { title: "accepts a user by number", rules: [`allow=uid:${uid}`, "deny=all"], may: true },
  { title: "refuses a user by number", rules: [`deny=uid:${uid}`], may: false },
  { title: "accepts a group by number", rules: [`allow=gid:${gid}`, "deny=anyunix"], may: true },
  {
    title: "refuses another group than the client's",
    rules: [`allow=gid:${gid + 1}`, "deny=any"],
    may: false,
  },
  {
    title: "accepts a process other than the denied one",
    rules: [`deny=pid:${process.pid}`],
    may: true,
  },
  {
    title: "refuses a process other than the allowed one",
    rules: [`allow=pid:${process.pid}`, "deny=all"],
    may: false,
  },
];

for (const { title, rules: params, may } of rules) {
  stock(`ip ${title}`, {
    filters: ["ip"],
    plugin: "memory",
    params: () => ["1M", ...params],
    see: (side) => withErrors(side, "show (refused (client))", null),
    expected: may
      ? [false, []]
      : [
          true,
          [
            "nbdkit: memory: error: client not permitted to connect because of source address restriction",
          ],
        ],
  });
}

stock("ip accepts only the allowed process", {
  filters: ["ip"],
  plugin: "memory",
  needs: ["nbdinfo"],
  before: (folder, peers) => {
    // The process waits for the URI, then becomes the client.
    const script = 'read uri && exec nbdinfo --size "$uri"';
    const peer = Bun.spawn(["sh", "-c", script], { stdin: "pipe", stdout: "pipe" });
    waiting.set(folder, peer);
    peers.defer(async () => {
      peer.kill();
      await peer.exited;
      waiting.delete(folder);
    });
  },
  params: (folder) => ["1M", `allow=pid:${waiting.get(folder)?.pid}`, "deny=all"],
  see: async ({ server, folder }) => {
    const peer = waiting.get(folder);
    const other = await nbdsh(server, "show (refused (client))", null);
    peer?.stdin.write(`${server.uri}\n`);
    peer?.stdin.end();
    return [other, await new Response(peer?.stdout).text()];
  },
  expected: [true, "1048576\n"],
});

/** Whether a client from a loopback address is refused, and the exit code of the server. */
async function loopback(side: CommandSide, address: string) {
  await using server = await serveTcp(side, address);
  const seen = await nbdsh(server, "show (refused (client))", null);
  return [seen, await server.stop()];
}

const tcp = [
  {
    title: "accepts IPv4 addresses that are allowed",
    rules: ["allow=anyipv4", "deny=all"],
    expected: [false, 0],
  },
  {
    title: "refuses IPv4 addresses that are denied",
    rules: ["allow=anyunix,anyipv6", "deny=allipv4"],
    expected: [true, 0],
  },
];
for (const { title, rules: params, expected } of tcp) {
  stockCommand(`ip ${title}`, {
    options: ["-f", "-p", "0", "-i", "127.0.0.1"],
    filters: ["ip"],
    plugin: "memory",
    params: () => ["1M", ...params],
    see: (side) => loopback(side, "127.0.0.1"),
    expected,
  });
}
