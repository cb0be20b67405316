/** A lifecycle of no connection, that records its actions. */
import { Lifecycle, type LifecycleActions, type PhaseName, phases } from "./lifecycle.ts";

/** One that is in that phase. `calls` has the actions that were called, each with the phase that it found. */
export function traced(phase: PhaseName): { lifecycle: Lifecycle; calls: string[] } {
  const calls: string[] = [];
  const call = (action: string) => () => void calls.push(`${action} in ${lifecycle.phase.name}`);
  const actions: LifecycleActions = {
    tellGone: call("tellGone"),
    tellStopping: call("tellStopping"),
    tellDisconnected: call("tellDisconnected"),
    logLeft: call("logLeft"),
    linger: call("linger"),
    dropInput: call("dropInput"),
    dropOutput: call("dropOutput"),
    wake: call("wake"),
  };
  const lifecycle = new Lifecycle(actions);
  lifecycle.phase = phases[phase];
  return { lifecycle, calls };
}
