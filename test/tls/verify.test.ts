/** --tls-verify-peer: the clients that the server accepts, and what layers learn about them. */
import { beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { ConnectionOptions } from "node:tls";

import { NbdClient } from "#test/client";
import { compileModule } from "#test/modules";
import { installed, program, run, serve, until } from "#test/server";

import { quiet } from "../protocol/server-fixture.ts";
import { clientDn, issuerDn, type Pki, pki } from "./certificates.ts";
import { missing, needing, needs, secured, type SecuredOptions, skip } from "./tls-fixture.ts";

let files: Pki;
beforeAll(async () => {
  if (missing.length === 0) files = await pki();
});

const identity = (folder: string): ConnectionOptions => ({
  cert: readFileSync(join(folder, "client-cert.pem")),
  key: readFileSync(join(folder, "client-key.pem")),
});

const verifying = (tls: SecuredOptions["tls"] = {}) => ({ tls: { ...tls, verifyPeer: true } });

/** Whether the client is served. If not, the server's log. */
async function outcome(
  options: SecuredOptions,
  client: ConnectionOptions,
): Promise<readonly string[] | "served"> {
  using log = quiet();
  await using server = await secured(options);
  await using nbd = await NbdClient.connect(await server.bridge(client));
  const result = await nbd
    .hello()
    .then(
      () => nbd.go(""),
      () => "refused",
    )
    .catch(() => "refused");
  if (result !== "refused") return "served";
  // The client may give up first.
  await until(() => server.server.connections === 0);
  expect(server.calls).toEqual([]);
  return log.lines;
}

describe.skipIf(skip)(`--tls-verify-peer${needs}`, () => {
  const versions = ["TLSv1.2", "TLSv1.3"] as const;
  const error = "disk[1]: error: TLS handshake: ";

  describe.each(versions)("with %s", (minVersion) => {
    const only = { minVersion, maxVersion: minVersion };

    test("accepts a client with a valid certificate", async () => {
      const client = { ...identity(files.client), ...only };
      expect(await outcome(verifying(), client)).toBe("served");
    });

    test("accepts a certificate for servers, as nbdkit does", async () => {
      const client = { ...identity(files.misused), ...only };
      expect(await outcome(verifying(), client)).toBe("served");
    });

    test("refuses a client without a certificate", async () => {
      expect(await outcome(verifying(), only)).toEqual([
        `${error}the client showed no certificate`,
      ]);
    });

    test("refuses a certificate of another authority", async () => {
      const client = { ...identity(files.stranger), ...only };
      expect(await outcome(verifying(), client)).toEqual([
        expect.stringContaining(`${error}the client's certificate is refused: `),
      ]);
    });

    test("refuses a revoked certificate", async () => {
      const client = { ...identity(files.client), ...only };
      expect(await outcome(verifying({ certificates: files.revoking }), client)).toEqual([
        expect.stringMatching(/the client's certificate is refused: .*revoked/),
      ]);
    });

    test.each([
      ["has expired", "outdated", /refused: .*expired/],
      ["is not valid yet", "early", /refused: .*not yet/],
    ] as const)("refuses a certificate that %s", async (_, name, reason) => {
      const client = { ...identity(files[name]), ...only };
      expect(await outcome(verifying(), client)).toEqual([expect.stringMatching(reason)]);
    });

    test("refuses a self-signed certificate", async () => {
      const own = {
        cert: readFileSync(join(files.folder, "own-cert.pem")),
        key: readFileSync(join(files.folder, "own-key.pem")),
      };
      expect(await outcome(verifying(), { ...own, ...only })).toEqual([
        expect.stringContaining(`${error}the client's certificate is refused: `),
      ]);
    });
  });

  test("is off by default, so that any client's certificate is accepted", async () => {
    expect(await outcome({}, identity(files.stranger))).toBe("served");
    expect(await outcome({ tls: { certificates: files.revoking } }, identity(files.client))).toBe(
      "served",
    );
  });

  test("passes the names in the certificate to layers", async () => {
    const met: unknown[] = [];
    await using server = await secured({
      ...verifying(),
      meets: (when, { tlsNames }) => met.push([when, tlsNames]),
    });
    const client = await server.secure(identity(files.client));
    await client.go("");
    expect(met).toEqual([
      ["preconnect", undefined],
      ["open", { dn: clientDn, issuerDn }],
    ]);
  });
});

const parity = needing("nbdkit", "nbdinfo");

describe.skipIf(parity.skip)(
  `--tls-verify-peer serves the same clients as in nbdkit${parity.needs}`,
  () => {
    test.each([
      ["client", true],
      ["misused", true],
      ["outdated", false],
      ["early", false],
      ["stranger", false],
      ["anonymous", false],
    ] as const)("%s: %p", async (name, isServed) => {
      for (const command of [program, ["nbdkit"]]) {
        await using server = await serve(
          [
            ...["--tls=require", "--tls-verify-peer", `--tls-certificates=${files.server}`],
            ...["memory", "1M"],
          ],
          { program: command },
        );
        const where = `nbds+unix:///?socket=${server.socket}&tls-certificates=${files[name]}`;
        const { code, stdout } = await run(["nbdinfo", "--size", where]);
        expect({ code, stdout }).toEqual(
          isServed ? { code: 0, stdout: "1048576\n" } : { code: 1, stdout: "" },
        );
        if (!isServed) await server.printed(/^nbdkit: memory\[1\]: error: .*certificate/m);
      }
    });
  },
);

const inC = needing("cc", "nbdinfo");

describe.skipIf(inC.skip)(`a C filter${inC.needs}`, () => {
  const servers = [
    { what: "this server", command: program, names: [`[${clientDn}] [${issuerDn}]`, "[] []"] },
    // nbdkit 1.32 lacks the functions.
    { what: "nbdkit", command: ["nbdkit"], names: ["[NULL] [NULL]", "[NULL] [NULL]"] },
  ];

  for (const { command, names, what } of servers) {
    const here = what === "nbdkit" && !installed("nbdkit");
    test.skipIf(here)(
      `learns whether its client uses TLS, and its certificate's names, in ${what}`,
      async () => {
        const filter = await compileModule("test/tls/names.c", { name: "nbdkit-names-filter" });
        const seen: unknown[] = [];
        for (const mode of ["require", "on"]) {
          await using server = await serve(
            [
              ...["-v", `--tls=${mode}`, `--tls-certificates=${files.server}`, "--tls-verify-peer"],
              ...[`--filter=${filter}`, command === program ? "native:eval" : "eval"],
              ...["get_size=echo 512", "pread=exit 1"],
            ],
            { program: command },
          );
          const secure = `nbds+unix:///?socket=${server.socket}&tls-certificates=${files.client}`;
          await run(["nbdinfo", "--size", secure]);
          await run(["nbdinfo", "--size", server.uri]);
          const { stderr } = await server.stop();
          seen.push({
            // The layers that the filter opens for all clients, then those of each client.
            opened: [...stderr.matchAll(/eval: open readonly=\d exportname="" (tls=\d)/g)].map(
              (it) => it[1],
            ),
            names: stderr.split("\n").filter((line) => line.startsWith("names ")),
          });
        }
        expect(seen).toEqual([
          { opened: ["tls=1", "tls=1"], names: [`names 11 ${names[0]}`] },
          {
            opened: ["tls=0", "tls=1", "tls=0"],
            names: [`names 11 ${names[0]}`, `names 00 ${names[1]}`],
          },
        ]);
      },
      60_000,
    );
  }
});
