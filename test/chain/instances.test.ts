/** A filter that is stacked twice: the callbacks that are called, and the state that its instances share. */
import { describe, expect, test } from "bun:test";

import { ConfigError, defineFilter, lastGiven, param } from "#api";
import { above } from "#test/chain";

import offset from "../../filters/offset/offset.ts";

const disk = () => Uint8Array.from({ length: 8192 }, (_, at) => at >> 5);

async function firstByte(stack: Awaited<ReturnType<typeof above>>): Promise<number | undefined> {
  const buf = new Uint8Array(1);
  await stack.next.pread(buf, 0n, 0);
  return buf[0];
}

describe("a filter that is stacked twice", () => {
  test("gives every instance the values of its parameters", async () => {
    const seen: unknown[] = [];
    const filter = defineFilter({
      name: "twice",
      params: {
        number: param.integer({ min: 0, max: 9, required: true, help: "A number." }),
        word: param.list(param.string({ help: "Words." })),
        one: param.ordered(param.string({ help: "One." })),
        other: param.ordered(param.string({ help: "Other." })),
        left: param.string({ default: "as it was", help: "Not given." }),
      },
      getReady({ number, word, one, other, left }) {
        seen.push({ number, word, last: lastGiven(one, other), left });
      },
    });
    const texts = { number: "7", word: "a", other: "first", one: "second" };
    await using _ = await above(disk(), filter, texts, { below: [filter] });
    const all = { number: 7, word: ["a"], last: "second", left: "as it was" };
    expect(seen).toEqual([all, all]);
  });

  test("adds up: two offsets of 1024 begin at 2048", async () => {
    await using stack = await above(disk(), offset, { offset: "1024" }, { below: [offset] });
    expect([await stack.next.getSize(), await firstByte(stack)]).toEqual([6144n, 2048 >> 5]);
  });

  test("calls config of the outermost instance, and copies the values that it stores to all", async () => {
    const calls: string[] = [];
    let instances = 0;
    const numbers = new WeakMap<object, number>();
    const filter = defineFilter({
      name: "twice",
      params: { stored: param.string({ default: "nothing", help: "Set by config, too." }) },
      async config(next, config, key, value) {
        const number = numbers.get(config) ?? (instances += 1);
        numbers.set(config, number);
        calls.push(`config ${number} ${key}=${value}`);
        if (key !== "alias") return next(key, value);
        await Promise.resolve();
        Object.assign(config, { stored: value });
      },
      async configComplete(next, config) {
        calls.push(`config_complete ${numbers.get(config)} ${config.stored}`);
        await next();
      },
    });
    const plugin = defineFilter({
      name: "taker",
      params: { unknown: param.string({ help: "For the layer below." }) },
    });
    const texts = { unknown: "1", alias: "2" };
    await using _ = await above(disk(), filter, texts, { below: [filter, plugin] });
    // As in nbdkit, a parameter that the outermost instance takes does not reach the inner one.
    expect(calls).toEqual([
      "config 1 unknown=1",
      "config 2 unknown=1",
      "config 1 alias=2",
      "config_complete 1 2",
      "config_complete 2 2",
    ]);
  });

  test("keeps other state apart by the object that its methods get", async () => {
    const writes = new WeakMap<object, number>();
    const counts: unknown[] = [];
    const filter = defineFilter({
      name: "counting",
      pwrite(next, config, buf, at, flags) {
        writes.set(config, (writes.get(config) ?? 0) + 1);
        return next.pwrite(buf, at, flags);
      },
      cleanup: (config) => void counts.push(writes.get(config)),
    });
    const stack = await above(disk(), filter, {}, { below: [filter] });
    await stack.next.pwrite(new Uint8Array(1), 0n, 0);
    await stack.close();
    expect(counts).toEqual([1, 1]);
  });

  test("shares nothing with another filter of the same name", async () => {
    const named = (seen: string[]) =>
      defineFilter({
        name: "same",
        params: { key: param.string({ default: "default", help: "A key." }) },
        getReady: ({ key }) => void seen.push(key),
      });
    const [outer, inner]: [string[], string[]] = [[], []];
    await using _ = await above(disk(), named(outer), { key: "given" }, { below: [named(inner)] });
    expect([outer, inner]).toEqual([["given"], ["default"]]);
  });

  test("is refused if a required parameter is missing", async () => {
    const filter = defineFilter({
      name: "twice",
      params: { needed: param.string({ required: true, help: "Needed." }) },
    });
    const start = above(disk(), filter, {}, { below: [filter] });
    await expect(start).rejects.toThrow(ConfigError);
  });
});
