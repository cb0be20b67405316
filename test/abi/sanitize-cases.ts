/** The scenarios that test/abi/sanitize.test.ts runs in the driver, and their modules. */

import { releaseMacro } from "../../codegen/names.ts";

const nbdkit1_2 = { THREAD_MODEL: "NBDKIT_THREAD_MODEL_PARALLEL" };

/** Each of these layouts changes parameters of functions, or the functions of the next layer. */
const nextExtents = (release: string) => ({
  source: "test/fixtures/next-extents.c",
  defines: { NBDKIT_FILTER_RELEASE: releaseMacro(release) },
});

/** The modules of the scenarios below, and their sources. */
export const modules = {
  xor: { source: "examples/xor/xor.c" },
  "tail-guard": { source: "examples/tail-guard/tail-guard.c" },
  "ramdisk-v1": { source: "examples/ramdisk-v1/ramdisk-v1.c" },
  "ramdisk-v2": { source: "examples/ramdisk-v2/ramdisk-v2.c" },
  background: { source: "test/fixtures/background.c" },
  "background-1.2": { source: "test/fixtures/background.c", defines: nbdkit1_2 },
  failing: { source: "test/fixtures/failing-filter.c" },
  "failing-1.2": { source: "test/fixtures/failing-filter.c", defines: nbdkit1_2 },
  foreign: { source: "test/fixtures/foreign.c", defines: { FOREIGN: 2 } },
  messages: { source: "test/fixtures/messages.c" },
  "next-extents-1.21.12": nextExtents("1.21.12"),
  "next-extents-1.22": nextExtents("1.22"),
  "next-extents-1.24": nextExtents("1.24"),
  "next-extents-1.25.4": nextExtents("1.25.4"),
  "next-extents-1.26": nextExtents("1.26"),
  "next-extents-1.30": nextExtents("1.30"),
  "next-extents-1.44": nextExtents("1.44"),
  order: { source: "test/fixtures/order.c" },
  "order-1.2": { source: "test/fixtures/order.c", defines: nbdkit1_2 },
  parsing: { source: "test/fixtures/parsing.c" },
  rmw: { source: "test/fixtures/rmw.c" },
  "second-try": { source: "test/fixtures/second-try.c" },
  "sized-1": { source: "test/fixtures/sized-filter.c", defines: { SIZED: 1 } },
  "sized-3": { source: "test/fixtures/sized-filter.c", defines: { SIZED: 3 } },
  slow: { source: "test/fixtures/slow.c" },
  superblock: { source: "test/fixtures/superblock.c" },
} as const;
export type ModuleName = keyof typeof modules;

export interface Case {
  readonly what: string;
  readonly scenario: string;
  readonly texts?: readonly string[];
  readonly stack: readonly ModuleName[];
}

/** Genuine filters above a genuine plugin, or above the driver's disk if there is no plugin. */
export interface StockCase {
  readonly scenario: "stock" | "stock-reads";
  /** FOLDER stands for a folder for files. */
  readonly texts?: readonly string[];
  readonly filters: readonly string[];
  readonly plugin?: string;
}

export const cases: readonly Case[] = [
  {
    what: "one filter, from load to unload",
    scenario: "life",
    texts: ["xor-key=90"],
    stack: ["xor"],
  },
  {
    what: "filters of the original layout and for nbdkit 1.2",
    scenario: "life",
    stack: ["order", "order-1.2", "tail-guard"],
  },
  {
    what: "five C layers that make requests of their own",
    scenario: "life",
    texts: ["xor-key=7", "guard=4k"],
    stack: ["xor", "rmw", "tail-guard", "order", "superblock"],
  },
  {
    what: "a plugin of API 1",
    scenario: "life",
    texts: ["xor-key=7", "size=1M"],
    stack: ["xor", "ramdisk-v1"],
  },
  {
    what: "a plugin of API 2",
    scenario: "life",
    texts: ["xor-key=7", "size=1M"],
    stack: ["rmw", "xor", "ramdisk-v2"],
  },
  { what: "messages of every kind", scenario: "life", stack: ["messages", "background"] },
  {
    what: "a struct that is smaller than ours",
    scenario: "life",
    texts: ["sized=1"],
    stack: ["sized-1"],
  },
  { what: "a struct that is larger than ours", scenario: "meeting", stack: ["sized-3"] },
  {
    what: "many threads through layers with locks and threads of their own",
    scenario: "parallel",
    texts: ["xor-key=33"],
    stack: ["background", "xor", "rmw", "tail-guard", "background-1.2"],
  },
  {
    what: "many threads above a plugin",
    scenario: "parallel",
    texts: ["xor-key=1", "size=1M"],
    stack: ["xor", "ramdisk-v2"],
  },
  {
    what: "requests that wait for each other in C",
    scenario: "meeting",
    texts: ["meet=8"],
    stack: ["slow"],
  },
  { what: "calls in queues", scenario: "queues", stack: ["order"] },
  {
    what: "calls in queues through several layers",
    scenario: "queues",
    texts: ["xor-key=0"],
    stack: ["xor", "order", "background-1.2"],
  },
  { what: "queued calls that meet", scenario: "together", texts: ["meet=8"], stack: ["slow"] },
  { what: "queues that share one thread", scenario: "starving", stack: ["order"] },
  {
    what: "a thread for a queue that comes late",
    scenario: "shortage",
    texts: ["sleep-ms=2", "others=1"],
    stack: ["slow"],
  },
  { what: "no thread for a queue", scenario: "refused", stack: [] },
  { what: "no slot left for another thread", scenario: "limits", stack: ["background"] },
  { what: "errors of a filter of the original layout", scenario: "errors", stack: ["failing"] },
  { what: "errors of a filter for nbdkit 1.2", scenario: "errors", stack: ["failing-1.2"] },
  { what: "errors through another C layer", scenario: "errors", stack: ["order", "failing"] },
  {
    what: "errors that a filter handles",
    scenario: "recovery",
    stack: ["second-try"],
  },
  { what: "forbidden calls", scenario: "misuse", stack: ["order"] },
  { what: "a filter for nbdkit 1.2 of thread model 0", scenario: "unmarked", stack: ["foreign"] },
  {
    what: "the parsers",
    scenario: "parameters",
    texts: [
      "parse-size=1k",
      "parse-size=99999999999999999999",
      "parse-bool=on",
      "parse-bool=neither",
      "absolute-path=relative",
      "absolute-path=",
      "realpath=.",
      "realpath=/nowhere",
      "read-password=secret",
      "read-password=-1",
      "read-password=+/dev/null",
      "read-password=+/nowhere",
      "rename-to=guard",
    ],
    stack: ["parsing", "order"],
  },
  {
    what: "functions for modules, called by filters of layouts with other parameters",
    scenario: "functions",
    stack: [
      "next-extents-1.21.12",
      "next-extents-1.22",
      "next-extents-1.24",
      "next-extents-1.25.4",
      "next-extents-1.26",
      "next-extents-1.30",
      "next-extents-1.44",
    ],
  },
];

/**
 * Stacks of nbdkit 1.32's modules with the thread model PARALLEL. Filters such as retry, which serialize requests,
 * exitlast and exitwhen, which end the process, and those that refuse requests of the scenario are left out.
 */
export const stockCases: readonly StockCase[] = [
  {
    scenario: "stock",
    texts: ["zeromode=emulate", "fuamode=emulate", "size=1M"],
    filters: ["nozero", "fua"],
    plugin: "memory",
  },
  {
    scenario: "stock",
    texts: ["offset=512", "size=1M"],
    filters: ["offset", "cow", "cache"],
    plugin: "memory",
  },
  {
    scenario: "stock",
    texts: ["cow-on-read=true", "minblock=4K", "maxdata=32K"],
    filters: ["cow", "blocksize"],
  },
  {
    scenario: "stock",
    texts: ["cache-on-read=true", "cache=unsafe"],
    filters: ["cache", "nocache"],
  },
  { scenario: "stock", texts: ["offset=512"], filters: ["readahead", "offset"] },
  { scenario: "stock-reads", texts: ["size=1M"], filters: ["readahead"], plugin: "pattern" },
  {
    scenario: "stock-reads",
    texts: ["size=1M", "data=1 2 3"],
    filters: ["scan", "cache"],
    plugin: "data",
  },
  {
    scenario: "stock-reads",
    texts: ["offset=512", "size=1M"],
    filters: ["offset"],
    plugin: "null",
  },
  {
    scenario: "stock",
    texts: ["rdelay=1ms", "logfile=FOLDER/log", "statsfile=FOLDER/stats"],
    filters: ["stats", "log", "delay"],
  },
  {
    scenario: "stock",
    texts: ["rate=100G", "limit=9", "size=1M"],
    filters: ["rate", "limit", "ip", "exportname"],
    plugin: "memory",
  },
  {
    scenario: "stock-reads",
    texts: ["error-rate=0", "size=1M"],
    filters: ["cacheextents", "fua", "error"],
    plugin: "sparse-random",
  },
  {
    scenario: "stock",
    texts: ["logfile=FOLDER/log", "file=FOLDER/disk"],
    filters: ["log"],
    plugin: "file",
  },
  {
    scenario: "stock",
    texts: ["round-down=4096", "size=1M"],
    filters: ["multi-conn", "truncate"],
    plugin: "memory",
  },
  { scenario: "stock", texts: ["pause-control=FOLDER/control"], filters: ["pause"] },
  {
    scenario: "stock",
    texts: ["retry-request-retries=1"],
    filters: ["blocksize-policy", "noextents", "nofilter", "retry-request"],
  },
  { scenario: "stock-reads", texts: ["offset=512"], filters: ["checkwrite", "offset"] },
  {
    scenario: "stock",
    texts: ["offset=512", "extentlist=FOLDER/list"],
    filters: ["offset", "extentlist"],
  },
];

/** Leaks in the modules themselves, as LeakSanitizer suppressions. */
export const knownLeaks: readonly { readonly in: string; readonly why: string }[] = [
  { in: "nbdkit-multi-conn-filter.so", why: "1.32.5 never frees the list of connections" },
];
