/** Filters of every layout that record each call, the same in TypeScript, and the calls that they must record. */
import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { type ReleaseId, releaseIds, releases } from "#abi/generated/releases.gen";
import {
  defineFilter,
  definePlugin,
  EXTENT_HOLE,
  EXTENT_ZERO,
  type Extents,
  FLAG_FUA,
  FLAG_REQ_ONE,
} from "#api";
import { type Support } from "#api/generated/methods.gen";
import { compileModule, temporaryFolder } from "#test/modules";
import { layerOnce, nativeLayer, scriptLayer } from "#test/native";

import { releaseMacro } from "../../codegen/names.ts";
import type { Layer } from "../../src/chain/layer.ts";

/** The file to which all of them append. C modules have its path compiled in. */
const recordFile = join(temporaryFolder(), "record");

/** The calls since the last time. */
export function recorded(): string[] {
  const text = readFileSync(recordFile, "utf8");
  writeFileSync(recordFile, "");
  return text === "" ? [] : text.trimEnd().split("\n");
}

export function forgetRecord(): void {
  writeFileSync(recordFile, "");
}

// ---- layers

const quoted = (text: string) => JSON.stringify(text);

/** The name of the filter with the layout `id`. No layout allows dots in a name. */
export function filterName(id: ReleaseId): string {
  return id.replaceAll(".", "x");
}

/** The path of a compiled filter that is called `name` and has every callback of a layout. */
export function everyCallbackPath(id: ReleaseId, name = filterName(id)): Promise<string> {
  return compileModule("test/fixtures/every-callback.c", {
    name: `every-${name}`,
    defines: {
      NBDKIT_FILTER_RELEASE: releaseMacro(id),
      NAME: quoted(name),
      RECORD: quoted(recordFile),
    },
  });
}

export function everyCallback(id: ReleaseId, name = filterName(id)): Promise<Layer> {
  return layerOnce(`${id} ${name}`, async () =>
    nativeLayer("filter", await everyCallbackPath(id, name)),
  );
}

export const recordingPluginPath = (preserved = true) =>
  compileModule("test/fixtures/recording-plugin.c", {
    defines: { RECORD: quoted(recordFile), PRESERVED: preserved ? 1 : 0 },
  });

/** The C plugin that records its calls. */
export function recordingPlugin(preserved = true): Promise<Layer> {
  return layerOnce(`disk ${preserved}`, async () =>
    nativeLayer("plugin", await recordingPluginPath(preserved)),
  );
}

// ---- the same in TypeScript

const bit = (yes: boolean) => (yes ? 1 : 0);
const numberOf = {
  serialize_connections: 0,
  serialize_all_requests: 1,
  serialize_requests: 2,
  parallel: 3,
};

/** A TypeScript filter that has every method, records each call and passes it on. */
export function everyMethod(name: string): Layer {
  const note = (line: string) => appendFileSync(recordFile, `${name} ${line}\n`);
  const range = (call: string, count: number, offset: bigint, flags: number) =>
    note(`${call} ${count} ${offset} flags=${flags}`);
  return scriptLayer(
    "filter",
    defineFilter({
      name,
      load: () => note("load"),
      unload: () => note("unload"),
      config(next, _config, key, value) {
        note(`config ${key}=${value}`);
        return next(key, value);
      },
      configComplete(next) {
        note("config_complete");
        return next();
      },
      threadModel() {
        note("thread_model");
        return "parallel";
      },
      dumpPlugin: () => note("dump_plugin"),
      getReady: (_config, model) => note(`get_ready model=${numberOf[model]}`),
      afterFork: () => note("after_fork"),
      cleanup: () => note("cleanup"),
      preconnect(next, _config, readonly) {
        note(`preconnect ro=${bit(readonly)}`);
        return next(readonly);
      },
      async listExports(next, _config, readonly, isTls, exports) {
        note(`list_exports ro=${bit(readonly)} tls=${bit(isTls)}`);
        await next(readonly, exports);
        exports.add(name, `of ${name}`);
      },
      defaultExport(next, _config, readonly, isTls) {
        note(`default_export ro=${bit(readonly)} tls=${bit(isTls)}`);
        return next(readonly);
      },
      async open(next, config, readonly, exportName, isTls) {
        note(`open ro=${bit(readonly)} name=${exportName} tls=${bit(isTls)}`);
        await next(readonly, exportName);
        return config;
      },
      close: () => note("close"),
      prepare: (_next, _handle, readonly) => note(`prepare ro=${bit(readonly)}`),
      finalize: () => note("finalize"),
      ...questions(note),
      pread(next, _handle, buf, offset, flags) {
        range("pread", buf.length, offset, flags);
        return next.pread(buf, offset, flags);
      },
      pwrite(next, _handle, buf, offset, flags) {
        range("pwrite", buf.length, offset, flags);
        return next.pwrite(buf, offset, flags);
      },
      flush(next, _handle, flags) {
        note(`flush flags=${flags}`);
        return next.flush(flags);
      },
      trim(next, _handle, count, offset, flags) {
        range("trim", count, offset, flags);
        return next.trim(count, offset, flags);
      },
      zero(next, _handle, count, offset, flags) {
        range("zero", count, offset, flags);
        return next.zero(count, offset, flags);
      },
      extents(next, _handle, count, offset, flags, extents) {
        range("extents", count, offset, flags);
        return next.extents(count, offset, flags, extents);
      },
      cache(next, _handle, count, offset, flags) {
        range("cache", count, offset, flags);
        return next.cache(count, offset, flags);
      },
    }),
  );
}

const cNames = {
  getSize: "get_size",
  blockSize: "block_size",
  exportDescription: "export_description",
  canWrite: "can_write",
  canFlush: "can_flush",
  isRotational: "is_rotational",
  canTrim: "can_trim",
  canZero: "can_zero",
  canFastZero: "can_fast_zero",
  canExtents: "can_extents",
  canFua: "can_fua",
  canMultiConn: "can_multi_conn",
  canCache: "can_cache",
} as const;
export type Question = keyof typeof cNames;
/** In this order none of them makes the seam ask another one. */
export const questionNames = Object.keys(cNames) as Question[];
export const cNameOf = (question: Question): string => cNames[question];

function questions(note: (line: string) => void): object {
  return Object.fromEntries(
    questionNames.map((question) => [
      question,
      (next: Record<Question, () => unknown>) => {
        note(cNames[question]);
        return next[question]();
      },
    ]),
  );
}

/** The same as test/fixtures/recording-plugin.c. */
export function recordingScript(): Layer {
  const disk = new Uint8Array(65536);
  const note = (line: string) => appendFileSync(recordFile, `disk ${line}\n`);
  const answer = <T>(name: string, it: () => T) => {
    return (): T => {
      note(name);
      return it();
    };
  };
  const part = (call: string, count: number, offset: bigint, flags: number) => {
    note(`${call} ${count} ${offset} flags=${flags}`);
    return disk.subarray(Number(offset), Number(offset) + count);
  };
  const config = { zero: true, fua: "native" as Support };
  return scriptLayer(
    "plugin",
    definePlugin({
      name: "disk",
      load() {
        for (let i = 0; i < disk.length; i++) disk[i] = (i * 7) % 251;
        Object.assign(config, { zero: true, fua: "native" });
        note("load");
      },
      unload: () => note("unload"),
      config(_config, key, value) {
        note(`config ${key}=${value}`);
        if (key === "disk-zero") config.zero = value !== "0";
        if (key === "disk-fua")
          config.fua = (["none", "emulate", "native"] as const)[Number(value)] ?? "none";
      },
      configComplete: () => note("config_complete"),
      threadModel: answer("thread_model", () => "parallel" as const),
      dumpPlugin: () => note("dump_plugin"),
      getReady: () => note("get_ready"),
      afterFork: () => note("after_fork"),
      cleanup: () => note("cleanup"),
      preconnect: (_config, readonly) => note(`preconnect ro=${bit(readonly)}`),
      listExports(_config, readonly, isTls, exports) {
        note(`list_exports ro=${bit(readonly)} tls=${bit(isTls)}`);
        exports.add("main", "the disk");
      },
      defaultExport(_config, readonly, isTls) {
        note(`default_export ro=${bit(readonly)} tls=${bit(isTls)}`);
        return "main";
      },
      open(it, readonly, exportName, isTls) {
        note(`open ro=${bit(readonly)} name=${exportName} tls=${bit(isTls)}`);
        return it;
      },
      close: () => note("close"),
      getSize: answer("get_size", () => 65536n),
      exportDescription: answer("export_description", () => "a disk"),
      blockSize: answer("block_size", () => ({ minimum: 1, preferred: 4096, maximum: 65536 })),
      canWrite: answer("can_write", () => true),
      canFlush: answer("can_flush", () => true),
      isRotational: answer("is_rotational", () => true),
      canTrim: answer("can_trim", () => true),
      canZero: answer("can_zero", () => config.zero),
      canFastZero: answer("can_fast_zero", () => true),
      canExtents: answer("can_extents", () => true),
      canFua: answer("can_fua", () => config.fua),
      canMultiConn: answer("can_multi_conn", () => true),
      canCache: answer("can_cache", () => "native" as const),
      pread: (_h, buf, offset, flags) => buf.set(part("pread", buf.length, offset, flags)),
      pwrite: (_h, buf, offset, flags) => part("pwrite", buf.length, offset, flags).set(buf),
      flush: (_h, flags) => note(`flush flags=${flags}`),
      trim: (_h, count, offset, flags) => void part("trim", count, offset, flags).fill(0),
      zero: (_h, count, offset, flags) => void part("zero", count, offset, flags).fill(0),
      extents(_h, count, offset, flags, extents) {
        note(`extents ${count} ${offset} flags=${flags}`);
        addExtents(disk, Number(offset), count, flags, extents);
      },
      cache: (_h, count, offset, flags) => note(`cache ${count} ${offset} flags=${flags}`),
    }),
  );
}

function addExtents(disk: Uint8Array, offset: number, count: number, flags: number, to: Extents) {
  for (let at = offset - (offset % 512); at < offset + count; at += 512) {
    const zeroes = disk.subarray(at, at + 512).every((byte) => byte === 0);
    to.add(BigInt(at), 512n, zeroes ? EXTENT_HOLE | EXTENT_ZERO : 0);
    if (flags & FLAG_REQ_ONE) break;
  }
}

// ---- the calls that they must record

/** A layer of a stack: a filter of one layout, or one in TypeScript. */
export interface Member {
  readonly name: string;
  /** Undefined in TypeScript. */
  readonly id?: ReleaseId;
}

/** Whether the filter has the callback. TypeScript filters have all. */
export function knows({ id }: Member, callback: string): boolean {
  if (id === undefined) return true;
  const fields: Readonly<Record<string, unknown>> = releases[id].filter.fields;
  return fields[callback] !== undefined;
}

const since = ({ id }: Member, other: ReleaseId): boolean =>
  id === undefined || releaseIds.indexOf(id) >= releaseIds.indexOf(other);

/** The line of a data callback: layouts before 1.4 have no flags. */
export function dataLine(member: Member, call: string, flags: number): string {
  if (since(member, "1.4")) return `${member.name} ${call} flags=${flags}`;
  return call.startsWith("zero")
    ? `${member.name} ${call} may_trim=${flags & 1 ? 1 : 0}`
    : `${member.name} ${call}`;
}

export interface Expected {
  readonly lines: string[];
  /** The outermost filter that lacks the callback and does not pass the question on. */
  readonly stopped: Member | undefined;
}

/** The layers that record a question. */
export function asked(members: readonly Member[], question: Question): Expected {
  const callback = cNames[question];
  const lines: string[] = [];
  for (const member of members) {
    if (knows(member, callback)) lines.push(`${member.name} ${callback}`);
    else if (answersItself.has(callback)) return { lines, stopped: member };
  }
  return { lines: [...lines, `disk ${callback}`], stopped: undefined };
}

/** Questions that do not pass a filter without the callback, since the filter may move or change data. */
const answersItself = new Set([
  "can_zero",
  "can_fast_zero",
  "can_fua",
  "can_multi_conn",
  "can_extents",
  "can_cache",
]);

/** The lines of a data request that passes all layers. */
export function passed(members: readonly Member[], call: string, flags: number): string[] {
  const plugin = call === "flush" ? "disk flush flags=0" : `disk ${call} flags=${flags}`;
  return [...members.map((member) => dataLine(member, call, flags)), plugin];
}

/**
 * The same for requests with FUA. The seam turns FUA into a flush of the first filter whose callbacks have no flags,
 * or of a TypeScript filter above it. C filters since nbdkit 1.4 pass the flag on.
 */
export function passedWithFua(members: readonly Member[], call: string, flags: number): string[] {
  const { stopped } = asked(members, "canFua");
  if (!(flags & FLAG_FUA) || stopped === undefined) return passed(members, call, flags);
  const at = members.findIndex((member) => member === stopped || member.id === undefined);
  const above = members.slice(0, at).map((member) => dataLine(member, call, flags));
  const below = members.slice(at);
  return [...above, ...passed(below, call, flags & ~FLAG_FUA), ...passed(below, "flush", 0)];
}

export function openLine(member: Member, readonly: boolean, name: string): string {
  const rest = since(member, "1.22")
    ? ` name=${name} tls=0`
    : since(member, "1.21.20")
      ? ` name=${name}`
      : "";
  return `${member.name} open ro=${bit(readonly)}${rest}`;
}

export function prepareLine(member: Member, readonly: boolean): string {
  return `${member.name} prepare${since(member, "1.15.1") ? ` ro=${bit(readonly)}` : ""}`;
}

export function getReadyLine(member: Member): string {
  return `${member.name} get_ready${since(member, "1.22") ? " model=3" : ""}`;
}

export function threadModelLine(member: Member, next = 3): string {
  return `${member.name} thread_model${member.id !== undefined && since(member, "1.44") ? ` next=${next}` : ""}`;
}

export function listLine(member: Member): string {
  const last = since(member, "1.24") ? "tls=0" : "default_only=0";
  return `${member.name} list_exports ro=0 ${last}`;
}
