/** Filters of every layout whose callbacks fail, each in every way that the layout has. */
import { beforeAll, describe, expect, test } from "bun:test";

import { type ReleaseId, releaseIds } from "#abi/generated/releases.gen";
import { Extents, FLAG_FAST_ZERO, FLAG_FUA, type NextOps } from "#api";
import { clientOf, configuredChain, errnoOf, openConnection } from "#test/chain";
import { haveCompiler } from "#test/modules";

import type { Chain } from "../../src/chain/chain.ts";
import {
  cNameOf,
  everyCallback,
  filterName,
  forgetRecord,
  knows,
  questionNames,
  recorded,
  recordingScript,
  threadModelLine,
} from "./every-callback.ts";

const plugin = recordingScript();
const EDQUOT = 122;
const EOPNOTSUPP = 95;

type Texts = Readonly<Record<string, string>>;

async function chainOf(ids: readonly ReleaseId[], texts: Texts): Promise<Chain> {
  const filters = await Promise.all(ids.map((id) => everyCallback(id)));
  forgetRecord();
  return configuredChain([...filters, plugin], texts);
}

/** Parameters that make the filter fail in `callback`. */
const failing = (id: ReleaseId, callback: string, how = "err", errno = EDQUOT): Texts => ({
  [`${filterName(id)}-errno`]: String(errno),
  [`${filterName(id)}-how`]: how,
  [`${filterName(id)}-fail`]: callback,
});

const has = (id: ReleaseId, callback: string) => knows({ name: id, id }, callback);

async function opened(chain: Chain) {
  const connection = await openConnection(chain);
  forgetRecord();
  return connection;
}

const requests: Readonly<Record<string, (top: NextOps) => unknown>> = {
  pread: (top) => top.pread(new Uint8Array(8), 0n, 0),
  pwrite: (top) => top.pwrite(new Uint8Array(8), 0n, 0),
  flush: (top) => top.flush(0),
  trim: (top) => top.trim(8, 0n, 0),
  zero: (top) => top.zero(8, 0n, 0),
  extents: (top) => top.extents(512, 0n, 0, new Extents(0n, 65536n)),
  cache: (top) => top.cache(8, 0n, 0),
};

const hasErr = (id: ReleaseId) => id !== "original" && id !== "1.2";

/** The error that a -1 means, by the way in which the filter sets errno. */
const ways: readonly {
  readonly how: string;
  readonly what: string;
  readonly expected: (id: ReleaseId) => string;
}[] = [
  // Older layouts have no err parameter, so errno counts, which the filter sets to EPIPE.
  {
    how: "err",
    what: "reports the error by its err parameter",
    expected: (id) => (hasErr(id) ? "EDQUOT" : "EPIPE"),
  },
  { how: "set_error", what: "reports the error by nbdkit_set_error", expected: () => "EDQUOT" },
  {
    how: "errno",
    what: "reports the error by errno if it has no err parameter",
    expected: (id) => (hasErr(id) ? "EIO" : "EDQUOT"),
  },
  { how: "nothing", what: "reports EIO if it sets no errno", expected: () => "EIO" },
];

describe.skipIf(!haveCompiler)("a filter (needs cc)", () => {
  beforeAll(async () => {
    await Promise.all(releaseIds.map((id) => everyCallback(id)));
  }, 60_000);

  describe("that fails before the first client", () => {
    test.each(releaseIds)("%s: ends the server", async (id) => {
      for (const stage of ["config_complete", "thread_model", "get_ready", "after_fork"]) {
        if (!has(id, stage)) continue;
        await expect(chainOf([id], failing(id, stage))).rejects.toThrow(
          `${filterName(id)}: the module's ${stage} callback failed`,
        );
      }
      await expect(chainOf([id], { ...failing(id, "config"), x: "1" })).rejects.toThrow(
        `${filterName(id)}: the module's config callback for x=1 failed`,
      );
    });

    test.each(releaseIds.filter((id) => has(id, "thread_model")))(
      "%s: ends the server by an unknown thread model; the lowest known one of the chain counts",
      async (id) => {
        for (const model of ["4", "-2"]) {
          await expect(chainOf([id], { [`${filterName(id)}-model`]: model })).rejects.toThrow(
            `${filterName(id)}: thread_model returned ${model}: expected 0 to 3`,
          );
        }
        const below = id === "1.36" ? "1.44" : "1.36";
        const texts = { [`${filterName(id)}-model`]: "2", [`${filterName(below)}-model`]: "1" };
        const chain = await chainOf([id, below], texts);
        expect(chain.threadModel).toBe("serialize_all_requests");
        const models = recorded().filter((line) => line.includes("thread_model"));
        // From 1.44 on a filter can ask for the thread model below it.
        expect(models.slice(1)).toEqual([
          threadModelLine({ name: filterName(below), id: below }, 3),
          threadModelLine({ name: filterName(id), id }, 1),
        ]);
      },
    );
  });

  describe("that fails before open", () => {
    const withPreconnect = releaseIds.filter((id) => has(id, "preconnect"));
    test.each(withPreconnect)(
      "%s: fails preconnect, the list of exports and the default",
      async (id) => {
        const refusing = await chainOf([id], failing(id, "preconnect"));
        expect(await errnoOf(() => refusing.preconnect(clientOf(refusing), false))).toBe("EIO");
        if (!has(id, "list_exports")) return;
        const listing = await chainOf([id], failing(id, "list_exports"));
        expect(await errnoOf(() => listing.listExports(clientOf(listing), false))).toBe("EIO");
        if (!has(id, "default_export")) return;
        const without = await chainOf([id], failing(id, "default_export"));
        expect(await without.defaultExport(clientOf(without), false)).toBeUndefined();
        expect(await errnoOf(() => openConnection(without))).toBe("EINVAL");
      },
    );
  });

  describe("that fails in open or close", () => {
    test.each(releaseIds)(
      "%s: has the other layers closed, and opened again for the next client",
      async (id) => {
        const above = id === "1.36" ? "1.44" : "1.36";
        const below = id === "1.30" ? "1.26" : "1.30";
        const open = async (callback: string) => {
          const chain = await chainOf([above, id, below], failing(id, callback));
          for (let i = 0; i < 2; i++) {
            forgetRecord();
            expect(await errnoOf(() => openConnection(chain, { exportName: "it" }))).toBe("EIO");
          }
          return recorded().map((line) => line.split(" ", 2).join(" "));
        };
        const opens = [
          `${filterName(above)} open`,
          `${filterName(id)} open`,
          `${filterName(below)} open`,
          "disk open",
        ];
        const early = opens.slice(0, 2);
        expect(await open("open")).toEqual(early);
        const closes = [`${filterName(below)} close`, "disk close"];
        // With the original layout, the server opens the layer below after open has returned.
        expect(await open("open-late")).toEqual(id === "original" ? early : [...opens, ...closes]);
        expect(await open("prepare")).toEqual([
          ...opens,
          ...[`${filterName(below)} prepare`, `${filterName(id)} prepare`],
          // Only prepared layers are finalized.
          `${filterName(below)} finalize`,
          ...[`${filterName(above)} close`, `${filterName(id)} close`, ...closes],
        ]);
      },
    );

    test.each(releaseIds)("%s: has the other layers finalized if finalize fails", async (id) => {
      const below = id === "1.30" ? "1.26" : "1.30";
      const connection = await opened(await chainOf([id, below], failing(id, "finalize")));
      await connection.close();
      expect(recorded()).toEqual([
        ...[`${filterName(id)} finalize`, `${filterName(below)} finalize`],
        ...[`${filterName(id)} close`, `${filterName(below)} close`, "disk close"],
      ]);
    });
  });

  test.each(releaseIds)("%s: is asked a question again after a failure", async (id) => {
    for (const question of questionNames) {
      const callback = cNameOf(question);
      if (!has(id, callback)) continue;
      const { top } = await opened(await chainOf([id], failing(id, callback)));
      if (callback === "export_description") {
        expect(await top.exportDescription()).toBeUndefined();
        continue;
      }
      // A failure is not remembered.
      for (let i = 0; i < 2; i++) {
        expect([callback, await errnoOf(() => top[question]())]).toEqual([callback, "EIO"]);
      }
      const isFor = { get_size: "pread", can_write: "pread" }[callback] ?? callback.slice(4);
      if (isFor !== "pread") {
        expect(await errnoOf(() => requests["pread"]?.(top))).toBe("no error");
      }
    }
  });

  describe("that fails in a request", () => {
    for (const { how, what, expected } of ways) {
      test.each(releaseIds)(`%s: ${what}`, async (id) => {
        for (const [callback, request] of Object.entries(requests)) {
          if (!has(id, callback)) continue;
          const connection = await opened(await chainOf([id], failing(id, callback, how)));
          expect([callback, await errnoOf(() => request(connection.top))]).toEqual([
            callback,
            expected(id),
          ]);
          // All other requests succeed.
          for (const [other, it] of Object.entries(requests)) {
            if (other === callback || !has(id, other)) continue;
            expect([other, await errnoOf(() => it(connection.top))]).toEqual([other, "no error"]);
          }
          await connection.close();
        }
      });
    }

    test.each(releaseIds)("%s: passes on the errors of the layer below", async (id) => {
      for (const below of ["original", "1.44"] as const) {
        if (below === id) continue;
        for (const [callback, request] of Object.entries(requests)) {
          if (!has(id, callback) || !has(below, callback)) continue;
          const chain = await chainOf([id, below], failing(below, callback, "set_error"));
          const { top } = await opened(chain);
          expect([callback, await errnoOf(() => request(top))]).toEqual([callback, "EDQUOT"]);
        }
      }
    });

    test.each(releaseIds)("%s: has zeroes written if zero fails with EOPNOTSUPP", async (id) => {
      const how = hasErr(id) ? "err" : "set_error";
      const chain = await chainOf([id], failing(id, "zero", how, EOPNOTSUPP));
      const { top } = await opened(chain);
      await top.zero(512, 0n, 0);
      const data = recorded().filter((line) => /zero \d|write \d/.test(line));
      expect(data.map((line) => line.split(" ").slice(0, 4).join(" "))).toEqual([
        `${filterName(id)} zero 512 0`,
        `${filterName(id)} pwrite 512 0`,
        "disk pwrite 512 0",
      ]);
      if (await top.canFastZero()) {
        expect(await errnoOf(() => top.zero(512, 0n, FLAG_FAST_ZERO))).toBe("EOPNOTSUPP");
      }
    });
  });

  describe("above a plugin without the capability", () => {
    test.each(releaseIds)("%s: zeroes by writing", async (id) => {
      const { top } = await opened(await chainOf([id], { "disk-zero": "0" }));
      // can_zero of older layouts is a boolean and covers emulation. Newer ones return how the layer zeroes.
      const triState = releaseIds.indexOf(id) >= releaseIds.indexOf("1.15.1");
      expect(await top.canZero()).toBe(triState ? "emulate" : "native");
      await top.pwrite(new Uint8Array(512).fill(1), 0n, 0);
      await top.zero(512, 0n, 0);
      const back = new Uint8Array(512).fill(2);
      await top.pread(back, 0n, 0);
      expect(back).toEqual(new Uint8Array(512));
      // No layer offers fast zeroing.
      expect(await errnoOf(() => top.zero(512, 0n, FLAG_FAST_ZERO))).toBe(
        triState ? "EOPNOTSUPP" : "EINVAL",
      );
    });

    test.each(releaseIds)("%s: passes FUA as a flag or a flush", async (id) => {
      for (const [number, word] of ["none", "emulate", "native"].entries()) {
        const { top } = await opened(await chainOf([id], { "disk-fua": String(number) }));
        const expected = hasErr(id) ? word : "emulate";
        expect(await top.canFua()).toBe(expected as Awaited<ReturnType<typeof top.canFua>>);
        if (expected === "none") {
          expect(await errnoOf(() => top.pwrite(new Uint8Array(8), 0n, FLAG_FUA))).toBe("EINVAL");
          continue;
        }
        await top.canWrite();
        await top.canFlush();
        forgetRecord();
        await top.pwrite(new Uint8Array(8), 0n, FLAG_FUA);
        const reached = recorded().filter((line) => /^disk (pwrite|flush)/.test(line));
        // The disk gets a flag or a flush, whatever flags the filter's layout has.
        expect(reached).toEqual(
          expected === "native"
            ? ["disk pwrite 8 0 flags=2"]
            : ["disk pwrite 8 0 flags=0", "disk flush flags=0"],
        );
      }
    });
  });
});
