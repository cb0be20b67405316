/** Filters of every layout with all callbacks: alone, stacked, mixed with TypeScript, above both kinds of plugins. */
import { beforeAll, describe, expect, test } from "bun:test";

import { type ReleaseId, releaseIds } from "#abi/generated/releases.gen";
import { type Exports, Extents, FLAG_FAST_ZERO, FLAG_FUA, FLAG_MAY_TRIM, FLAG_REQ_ONE } from "#api";
import { clientOf, configuredChain, errnoOf, openConnection } from "#test/chain";
import { haveCompiler } from "#test/modules";
import { randomFrom, shuffled } from "#test/random";

import type { Chain, ChainConnection } from "../../src/chain/chain.ts";
import type { Layer } from "../../src/chain/layer.ts";
import {
  asked,
  everyCallback,
  everyMethod,
  filterName,
  forgetRecord,
  getReadyLine,
  knows,
  listLine,
  type Member,
  openLine,
  passed,
  passedWithFua,
  prepareLine,
  type Question,
  questionNames,
  recorded,
  recordingPlugin,
  recordingScript,
  threadModelLine,
} from "./every-callback.ts";

type PluginKind = "C" | "TypeScript";

const scripts = new Map<string, Layer>();

function layerOf({ id, name }: Member): Promise<Layer> | Layer {
  if (id !== undefined) return everyCallback(id, name);
  let layer = scripts.get(name);
  if (layer === undefined) scripts.set(name, (layer = everyMethod(name)));
  return layer;
}

const script = recordingScript();
const pluginOf = async (kind: PluginKind) => (kind === "C" ? recordingPlugin() : script);

async function configured(members: readonly Member[], kind: PluginKind): Promise<Chain> {
  const filters = await Promise.all(members.map(layerOf));
  forgetRecord();
  return configuredChain([...filters, await pluginOf(kind)], { x: "1" });
}

const upwards = (members: readonly Member[]) => members.toReversed();
const lines = (members: readonly Member[], callback: string, line = callback) =>
  members.filter((it) => knows(it, callback)).map((it) => `${it.name} ${line}`);

/** From load to after_fork. */
function beginning(members: readonly Member[]): string[] {
  const up = upwards(members);
  const known = (callback: string) => up.filter((it) => knows(it, callback));
  return [
    ...["disk load", ...lines(up, "load")],
    ...[...lines(members, "config", "config x=1"), "disk config x=1"],
    ...[...lines(members, "config_complete"), "disk config_complete"],
    ...["disk thread_model", ...known("thread_model").map((it) => threadModelLine(it))],
    ...["disk get_ready", ...known("get_ready").map(getReadyLine)],
    ...["disk after_fork", ...lines(up, "after_fork")],
  ];
}

async function checkEarly(chain: Chain, members: readonly Member[]): Promise<void> {
  const info = clientOf(chain);
  await chain.preconnect(info, true);
  expect(recorded()).toEqual([
    ...lines(members, "preconnect", "preconnect ro=1"),
    "disk preconnect ro=1",
  ]);
  await chain.preconnect(info, false);
  recorded();
  const exports: Exports = await chain.listExports(info, false);
  const listing = members.filter((it) => knows(it, "list_exports"));
  expect(recorded()).toEqual([...listing.map(listLine), "disk list_exports ro=0 tls=0"]);
  expect(exports.entries).toEqual([
    { name: "main", description: "the disk" },
    ...upwards(listing).map(({ name }) => ({ name, description: `of ${name}` })),
  ]);
  expect(await chain.defaultExport(info, false)).toBe("main");
  const line = "default_export ro=0 tls=0";
  expect(recorded()).toEqual([...lines(members, "default_export", line), `disk ${line}`]);
}

/** Opens the empty export name: each layer gets its own default export. */
async function checkDefaultName(chain: Chain, members: readonly Member[]): Promise<void> {
  const connection = await openConnection(chain);
  const opens = recorded().filter((line) => / open /.test(line));
  expect(opens).toEqual([
    ...members.map((it) => openLine(it, false, "main")),
    "disk open ro=0 name=main tls=0",
  ]);
  await connection.close();
  recorded();
}

async function opened(chain: Chain, members: readonly Member[], readonly: boolean) {
  const connection = await openConnection(chain, { readonly, exportName: "it" });
  expect(recorded()).toEqual([
    ...members.map((it) => openLine(it, readonly, "it")),
    `disk open ro=${readonly ? 1 : 0} name=it tls=0`,
    ...upwards(members).map((it) => prepareLine(it, readonly)),
  ]);
  return connection;
}

async function checkClosing(connection: ChainConnection, members: readonly Member[]) {
  await connection.close();
  expect(recorded()).toEqual([
    ...lines(members, "finalize"),
    ...lines(members, "close"),
    "disk close",
  ]);
}

/** The answers of the top layer. Some questions do not pass filters whose layout lacks the callback. */
function answers(members: readonly Member[]): Record<Question, unknown> {
  const past = (question: Question) => asked(members, question).stopped === undefined;
  const describing = members.filter((it) => knows(it, "export_description"));
  return {
    getSize: 65536n,
    blockSize: { minimum: 1, preferred: 4096, maximum: 65536 },
    exportDescription: ["a disk", ...upwards(describing).map((it) => it.name)]
      // The TypeScript filters add nothing.
      .filter((name) => !name.startsWith("ts"))
      .join(", "),
    canWrite: true,
    canFlush: true,
    isRotational: true,
    canTrim: true,
    canZero: "native",
    canFastZero: past("canFastZero"),
    canExtents: past("canExtents"),
    canFua: past("canFua") ? "native" : "emulate",
    canMultiConn: past("canMultiConn"),
    canCache: past("canCache") ? "native" : "none",
  };
}

async function checkQuestions({ top }: ChainConnection, members: readonly Member[]) {
  const expected = answers(members);
  for (const question of questionNames) {
    const answer: unknown = await top[question]();
    expect([question, answer]).toEqual([question, expected[question]]);
    expect(recorded()).toEqual(asked(members, question).lines);
  }
}

/** The recorded requests, without the questions that the layers below get when their answers are first needed. */
const requests = () =>
  recorded().filter((line) => !/ (can_\w+|get_size|is_rotational)$/.test(line));

/** Requests of all kinds reach all layers, with the flags that their layouts have, and take effect. */
async function checkData({ top }: ChainConnection, members: readonly Member[]): Promise<void> {
  const can = answers(members);
  const data = Uint8Array.from({ length: 1024 }, (_, i) => (i % 255) + 1);
  const back = new Uint8Array(1024);
  await top.pread(back, 8192n, 0);
  expect(back).toEqual(Uint8Array.from({ length: 1024 }, (_, i) => ((8192 + i) * 7) % 251));
  expect(requests()).toEqual(passed(members, "pread 1024 8192", 0));
  for (const flags of [0, FLAG_FUA]) {
    await top.pwrite(data, 512n, flags);
    expect(requests()).toEqual(passedWithFua(members, "pwrite 1024 512", flags));
  }
  await top.pread(back, 512n, 0);
  expect(back).toEqual(data);
  recorded();
  await top.flush(0);
  expect(requests()).toEqual(passed(members, "flush", 0));
  for (const flags of [0, FLAG_FUA]) {
    await top.trim(512, 1024n, flags);
    expect(requests()).toEqual(passedWithFua(members, "trim 512 1024", flags));
  }
  await top.pread(back, 512n, 0);
  expect(back.subarray(512)).toEqual(new Uint8Array(512));
  recorded();
  const zeroing = [0, FLAG_MAY_TRIM, FLAG_FUA, FLAG_MAY_TRIM | FLAG_FUA];
  if (can.canFastZero === true) zeroing.push(FLAG_FAST_ZERO, FLAG_FAST_ZERO | FLAG_MAY_TRIM);
  else expect(await errnoOf(() => top.zero(512, 512n, FLAG_FAST_ZERO))).toBe("EINVAL");
  for (const flags of zeroing) {
    await top.zero(512, 512n, flags);
    expect(requests()).toEqual(passedWithFua(members, "zero 512 512", flags));
  }
  if (can.canCache === "native") {
    await top.cache(4096, 0n, 0);
    expect(requests()).toEqual(passed(members, "cache 4096 0", 0));
  } else {
    expect(await errnoOf(() => top.cache(4096, 0n, 0))).toBe("EINVAL");
    expect(requests()).toEqual([]);
  }
  await checkExtents(top, members, can.canExtents === true);
}

async function checkExtents(
  top: ChainConnection["top"],
  members: readonly Member[],
  supported: boolean,
) {
  for (const flags of [0, FLAG_REQ_ONE]) {
    const extents = new Extents(512n, 65536n);
    await top.extents(2048, 512n, flags, extents);
    if (supported) {
      const hole = { offset: 512n, length: flags === 0 ? 1024n : 512n, type: 3 };
      const after = { offset: 1536n, length: 1024n, type: 0 };
      expect(extents.entries).toEqual(flags === 0 ? [hole, after] : [hole]);
      expect(requests()).toEqual(passed(members, "extents 2048 512", flags));
    } else {
      expect(extents.entries).toEqual([{ offset: 512n, length: 2048n, type: 0 }]);
      expect(requests()).toEqual([]);
    }
  }
}

/** The whole life of a chain, with two clients, one of them read-only. */
async function checkStack(members: readonly Member[], kind: PluginKind): Promise<void> {
  const chain = await configured(members, kind);
  expect(recorded()).toEqual(beginning(members));
  await checkEarly(chain, members);
  await checkDefaultName(chain, members);
  const first = await opened(chain, members, false);
  await checkQuestions(first, members);
  await checkData(first, members);
  const second = await opened(chain, members, true);
  expect(await second.top.canWrite()).toBe(false);
  expect(await errnoOf(() => second.top.pwrite(new Uint8Array(1), 0n, 0))).toBe("EINVAL");
  recorded();
  await checkClosing(second, members);
  // The first client goes on.
  await checkData(first, members);
  await checkClosing(first, members);
  await chain.cleanup();
  expect(recorded()).toEqual([...lines(members, "cleanup"), "disk cleanup"]);
  await chain.unload();
  expect(recorded()).toEqual(["disk unload", ...lines(upwards(members), "unload")]);
}

const release = (id: ReleaseId): Member => ({ name: filterName(id), id });

describe.skipIf(!haveCompiler)(
  "filters with every callback are called in nbdkit's order (needs cc)",
  () => {
    beforeAll(async () => {
      await Promise.all([...releaseIds.map((id) => everyCallback(id)), recordingPlugin()]);
    }, 60_000);

    for (const kind of ["TypeScript", "C"] as const) {
      describe(`above a ${kind} plugin`, () => {
        test.each(releaseIds)("%s: alone", (id) => checkStack([release(id)], kind));

        test.each(releaseIds)("%s: between TypeScript filters", (id) =>
          checkStack([{ name: "ts1" }, release(id), { name: "ts2" }], kind),
        );

        test("all layouts, the newest outermost", () =>
          checkStack(releaseIds.map(release).toReversed(), kind));

        test("all layouts, the newest innermost", () => checkStack(releaseIds.map(release), kind));

        test.each([1, 2, 3, 4])("all layouts in random order %i", (seed) =>
          checkStack(shuffled(releaseIds, randomFrom(seed)).map(release), kind),
        );

        test.each([5, 6, 7, 8, 9, 10])(
          "some layouts and TypeScript filters in random order %i",
          (seed) => {
            const random = randomFrom(seed);
            const some = shuffled(releaseIds, random)
              .slice(0, 2 + (seed % 5))
              .map(release);
            const others: Member[] = ["ts1", "ts2", "ts3"].map((name) => ({ name }));
            return checkStack(shuffled([...some, ...others], random), kind);
          },
        );
      });
    }
  },
);
