/** Every event in every phase of a connection. */
import { describe, expect, test } from "bun:test";

import { traced } from "./lifecycle-fixture.ts";
import { type LifecycleEvent, type PhaseName, phases, transitions } from "./lifecycle.ts";

/** The next phase by event and phase; "-" if the event cannot happen. */
const drawing = `
             negotiating asked     unwelcome lingering serving  refusing stopping draining closing over
exportClosed asked       asked     unwelcome lingering -        -        -        draining closing over
negotiated   serving     serving   refusing  stopping  -        -        -        -        closing over
refuse       unwelcome   unwelcome unwelcome lingering refusing refusing stopping draining closing over
stop         closing     lingering closing   lingering stopping stopping stopping closing  closing over
late         -           -         -         closing   -        -        stopping -        closing over
left         negotiating asked     unwelcome lingering serving  refusing stopping draining closing over
halfClosed   negotiating asked     unwelcome lingering serving  refusing stopping draining closing over
done         draining    draining  draining  closing   draining draining closing  draining closing over
lost         over        over      over      over      over     over     over     over     over    over
closed       over        over      over      over      over     over     over     over     over    over
`;

const [names = [], ...rows] = drawing
  .trim()
  .split("\n")
  .map((line) => line.trim().split(/ +/));

interface Cell {
  readonly event: LifecycleEvent;
  readonly phase: PhaseName;
  /** The next phase, or "-". */
  readonly next: string;
  readonly actions: readonly string[];
}

const events = Object.keys(transitions) as LifecycleEvent[];
const phaseNames = Object.keys(phases) as PhaseName[];
const cells: readonly Cell[] = events.flatMap((event) =>
  phaseNames.map((phase) => ({
    event,
    phase,
    next: rows.find(([name]) => name === event)?.[1 + names.indexOf(phase)] ?? "missing",
    actions: transitions[event][phase]?.slice(1) ?? [],
  })),
);
const possible = cells.filter(({ next }) => next !== "-");

test("the drawing has all phases and events", () => {
  expect(names).toEqual(phaseNames);
  expect(rows.map(([name]) => name)).toEqual(events);
});

test.each(possible)("$event while $phase leads to $next", ({ event, phase, next, actions }) => {
  const { lifecycle, calls } = traced(phase);
  lifecycle.raise(event);
  expect<string>(lifecycle.phase.name).toBe(next);
  expect(calls).toEqual(actions.map((action) => `${action} in ${next}`));
  expect(lifecycle.halfClosed).toBe(event === "halfClosed");
});

test.each(cells.filter(({ next }) => next === "-"))(
  "$event cannot happen while $phase",
  ({ event, phase }) => {
    const { lifecycle, calls } = traced(phase);
    expect(() => lifecycle.raise(event)).toThrow(`${event} cannot happen while ${phase}`);
    expect(lifecycle.phase.name).toBe(phase);
    expect(calls).toEqual([]);
  },
);

describe("in the whole table", () => {
  /** The transitions between different phases. */
  const changes = possible
    .filter(({ next, phase }) => next !== phase)
    .map((cell) => ({ ...cell, from: phases[cell.phase], to: phases[cell.next as PhaseName] }));

  test("every phase can be reached from the first one", () => {
    const reached = new Set<string>([traced("negotiating").lifecycle.phase.name]);
    for (const from of reached) {
      for (const { next, phase } of changes) if (phase === from) reached.add(next);
    }
    expect([...reached].toSorted()).toEqual(phaseNames.toSorted());
  });

  test("phases only go forward", () => {
    for (const { next, phase } of changes) {
      expect(names.indexOf(next)).toBeGreaterThan(names.indexOf(phase));
    }
  });

  test("events of the client, a layer or the user can happen at any time", () => {
    const anytime: LifecycleEvent[] = [
      "refuse",
      "stop",
      "left",
      "halfClosed",
      "done",
      "lost",
      "closed",
    ];
    for (const event of anytime) {
      expect(Object.keys(transitions[event])).toEqual(phaseNames);
    }
  });

  test("a stopping server runs no request and does not wait long, except for a handshake", () => {
    for (const { next } of possible.filter(({ event }) => event === "stop")) {
      expect(["lingering", "stopping", "closing", "over"]).toContain(next);
    }
  });

  test("a connection that no longer listens never listens again", () => {
    for (const { from, to } of changes) if (!from.listens) expect(to.listens).toBe(false);
  });

  test("the layers' signal fires before the server stops serving their client", () => {
    for (const { actions, from, to } of changes) {
      // The signal fired when the server began to stop.
      if (!["serving", "refusing"].includes(from.name) || to.name === "refusing") continue;
      expect(actions[0]).toMatch(/^signal/);
    }
  });

  test("everything that waits is woken when the server takes no more input", () => {
    for (const { actions, event, from, to } of changes) {
      // The transmission raises `done` itself.
      const itself = event === "done" && ["serving", "refusing", "stopping"].includes(from.name);
      if (from.listens && !to.listens && !itself) expect(actions.at(-1)).toBe("wake");
    }
  });
});
