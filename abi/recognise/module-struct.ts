/** Reads the struct of a loaded module, and checks it by nbdkit's rules. */
import { ConfigError } from "#api";
import { pluginApiVersions } from "#api/generated/constants.gen";

import { layouts, type StructLayout } from "../generated/layouts.gen.ts";
import { RT_ADAPTER_PLUGIN } from "../generated/ops.gen.ts";
import { releases } from "../generated/releases.gen.ts";
import { type FilterHead, recogniseFilter } from "./layout.ts";
import { largestPluginBytes } from "./limits.ts";
import {
  filterHead,
  hasAddress,
  isText,
  type ModuleKind,
  type OpenedModule,
  structBytes,
  textAt,
} from "./open-module.ts";
import { type ChosenLayout, newestKnown, type ReleaseId, releaseIds } from "./releases.ts";

/** A copy of a module's struct, in which fields that the module lacks are zero. */
export interface ModuleStruct {
  readonly kind: ModuleKind;
  readonly path: string;
  /** The layout of a filter. */
  readonly release?: ReleaseId;
  readonly apiVersion: number;
  /** The release of a filter that is newer than all known ones, if its struct reads like the newest known one. */
  readonly unknownRelease?: string | undefined;
  /** The size of the struct when the module was compiled. */
  readonly structSize: number;
  /** The field `_thread_model`; undefined if the layout lacks it. */
  readonly threadModel: number | undefined;
  readonly layout: StructLayout;
  readonly adapter: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Whether the module has the callback. */
  has(callback: string): boolean;
  /** A string field, or undefined for NULL. Throws ConfigError if it points to no text. */
  text(field: string): string | undefined;
  integer(field: string): number;
}

interface Form {
  readonly layout: StructLayout;
  readonly adapter: number;
  readonly release?: ReleaseId;
  readonly apiVersion: number;
  readonly unknownRelease?: string | undefined;
  readonly structSize: number;
}

/** Copy the fields that both sides know: missing fields of an older module read as NULL, later ones are ignored. */
function readStruct(opened: OpenedModule, form: Form): ModuleStruct {
  const { layout, structSize } = form;
  const fields: StructLayout["fields"] = layout.fields;
  const bytes = new Uint8Array(new ArrayBuffer(layout.size));
  bytes.set(structBytes(opened, Math.min(layout.size, structSize)));
  const view = new DataView(bytes.buffer);
  // A field that the module's struct has only in part counts as absent.
  const place = (field: string): number | undefined => {
    const found = fields[field];
    return found === undefined || found.offset + found.size > structSize ? undefined : found.offset;
  };
  const pointer = (field: string): bigint => {
    const offset = place(field);
    return offset === undefined ? 0n : view.getBigUint64(offset, true);
  };
  const integer = (field: string): number => {
    const offset = place(field);
    return offset === undefined ? 0 : view.getInt32(offset, true);
  };
  const { kind, path } = opened;
  return {
    ...form,
    kind,
    path,
    bytes,
    threadModel: fields["_thread_model"] === undefined ? undefined : integer("_thread_model"),
    has: (callback) => pointer(callback) !== 0n,
    text: (field) => textAt(opened, field, pointer(field)),
    integer,
  };
}

/** Read the struct of a filter. Throws ConfigError if the filter cannot be run. */
export function readFilter(opened: OpenedModule, wanted: ChosenLayout | undefined): ModuleStruct {
  const head = filterHead(opened);
  const { id, apiVersion, unknownRelease } = recogniseFilter(opened.path, head, wanted);
  const { filter: layout, adapter } = releases[id];
  // Later structs do not begin with their size. They have the size of the layout.
  const structSize = apiVersion === 1 ? Number(head.size) : layout.size;
  const form = { layout, adapter, release: id, apiVersion, structSize, unknownRelease };
  const struct = readStruct(opened, form);
  if (unknownRelease !== undefined) checkUnknown(opened, struct, head);
  return struct;
}

/** The warning about a filter for an unknown release. */
export function unknownReleaseWords({ path, unknownRelease }: ModuleStruct): string {
  return (
    `${path}: this filter is for nbdkit ${unknownRelease}, and ${newestKnown} is the newest release that is known here: ` +
    `it runs as a filter of ${newestKnown}, since its struct reads like one`
  );
}

/** Throws ConfigError unless the struct reads like that of the newest known release. */
function checkUnknown(opened: OpenedModule, struct: ModuleStruct, head: FilterHead): void {
  const view = new DataView(struct.bytes.buffer);
  const size = head.symbolSize();
  const differs = (what: string): ConfigError =>
    new ConfigError(
      `${opened.path}: this filter is for nbdkit ${struct.unknownRelease}, ${newestKnown} is the newest release that is known ` +
        `here, and the struct is another one (${what}): rebuild the filter for nbdkit ${newestKnown}`,
    );
  if (size !== undefined && size !== struct.structSize) {
    throw differs(`it has ${size} bytes, not ${struct.structSize}`);
  }
  for (const [name, { kind, offset }] of Object.entries(struct.layout.fields)) {
    if (kind !== "function" && kind !== "string") continue;
    const address = view.getBigUint64(offset, true);
    if (address === 0n) continue;
    const reads = kind === "function" ? hasAddress(opened, address) : isText(address);
    if (!reads) throw differs(`.${name} is 0x${address.toString(16)}, which is no ${kind}`);
  }
}

/** Read the struct of a plugin. Throws ConfigError if the plugin cannot be run. */
export function readPlugin(opened: OpenedModule): ModuleStruct {
  const { path } = opened;
  const { fields } = layouts.plugin;
  const view = new DataView(structBytes(opened, fields.name.offset).buffer);
  const size = view.getBigUint64(fields._struct_size.offset, true);
  const apiVersion = view.getInt32(fields._api_version.offset, true);
  // nbdkit accepts 0, which no header ever wrote. It would count as an API with flags, and FUA would be lost in
  // callbacks without flags.
  if (!pluginApiVersions.some((version) => version === apiVersion)) {
    throw new ConfigError(
      `${path}: plugin is incompatible with this version of nbdkit (_api_version = ${apiVersion}, need ${pluginApiVersions.join(" or ")})`,
    );
  }
  const least = fields.name.offset + 8;
  if (size > largestPluginBytes) {
    throw new ConfigError(
      `${path}: plugin has _struct_size ${size}: expected at most ${largestPluginBytes}`,
    );
  }
  if (size < BigInt(least)) {
    throw new ConfigError(
      `${path}: plugin has _struct_size ${size}: expected at least ${least}, so that it can hold its name`,
    );
  }
  const layout = layouts.plugin;
  return readStruct(opened, {
    layout,
    adapter: RT_ADAPTER_PLUGIN,
    apiVersion,
    structSize: Number(size),
  });
}

/** Throws ConfigError if the struct breaks a rule of nbdkit-filter(3) or nbdkit-plugin(3). */
export function checkStruct(struct: ModuleStruct): void {
  const { kind, path, threadModel } = struct;
  if (threadModel !== undefined && (threadModel < 0 || threadModel > 3)) {
    throw new ConfigError(`${path}: ${kind} has thread model ${threadModel}: expected 0 to 3`);
  }
  const required = kind === "filter" ? [] : [["open"], ["get_size"], ["pread", "_pread_v1"]];
  for (const callbacks of required) {
    if (!callbacks.some((callback) => struct.has(callback))) {
      throw new ConfigError(`${path}: plugin must have a .${callbacks[0]} callback`);
    }
  }
  checkName(struct);
}

/** Dashes are allowed in names of plugins, and in those of filters since nbdkit 1.21.24. */
function checkName({ kind, path, release, ...struct }: ModuleStruct): void {
  const older =
    kind === "filter" &&
    (release === undefined || releaseIds.indexOf(release) < releaseIds.indexOf("1.22"));
  const name = struct.text("name");
  if (name === undefined) throw new ConfigError(`${path}: ${kind} must have a .name field`);
  if (name === "") throw new ConfigError(`${path}: ${kind}.name field must not be empty`);
  const accepted = older ? /^[a-zA-Z0-9]+$/ : /^[a-zA-Z0-9][a-zA-Z0-9-]*$/;
  if (accepted.test(name)) return;
  const words = older
    ? "contain only ASCII alphanumeric characters"
    : "contain only ASCII alphanumeric characters or dashes, starting with a letter or digit";
  throw new ConfigError(`${path}: ${kind}.name ('${name}') field must ${words}`);
}
