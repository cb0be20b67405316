/** The table of errors agrees with the system: perl knows both the names and the messages. */
import { expect, test } from "bun:test";

import { type Errno, errnoName, errnos, errnoText } from "./errno.ts";

interface Known {
  readonly name: string;
  readonly number: number;
  readonly text: string;
}

const script = `for (sort keys %!) { my $n = Errno->can($_)->(); $! = $n; print "$_\\t$n\\t$!\\n" }`;

const known: readonly Known[] = Bun.spawnSync(["perl", "-MErrno", "-e", script], {
  env: { LC_ALL: "C" },
})
  .stdout.toString()
  .trim()
  .split("\n")
  .map((line) => {
    const [name = "", number = "", text = ""] = line.split("\t");
    return { name, number: Number(number), text };
  });

test("every error of Linux has its number and the message of strerror(3)", () => {
  expect(known.length).toBeGreaterThan(130);
  const ours: readonly Known[] = Object.keys(errnos).map((name) => ({
    name,
    number: errnos[name as Errno],
    text: errnoText(name as Errno),
  }));
  const byName = (a: Known, b: Known) => (a.name < b.name ? -1 : 1);
  expect(ours.toSorted(byName)).toEqual([...known].toSorted(byName));
});

test("every number has one primary name", () => {
  for (const { number } of known) {
    expect(errnos[errnoName(number)]).toBe(number as (typeof errnos)[Errno]);
  }
  expect([11, 35, 95].map((number) => errnoName(number))).toEqual([
    "EAGAIN",
    "EDEADLK",
    "EOPNOTSUPP",
  ]);
  expect(errnoName(134)).toBe("EIO");
  expect(errnoName(134, "EINVAL")).toBe("EINVAL");
});
