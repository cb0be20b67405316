/** A lifecycle without a connection, which records its actions. */
import { Lifecycle, type LifecycleActions, type PhaseName, phases } from "./lifecycle.ts";

/** Create a lifecycle in `phase`. `calls` lists the actions that were called, with the phase at that time. */
export function traced(phase: PhaseName): { lifecycle: Lifecycle; calls: string[] } {
  const calls: string[] = [];
  const call = (action: string) => () => void calls.push(`${action} in ${lifecycle.phase.name}`);
  const actions: LifecycleActions = {
    signalGone: call("signalGone"),
    signalStopping: call("signalStopping"),
    signalDisconnected: call("signalDisconnected"),
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
