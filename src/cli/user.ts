/** Changes the user and group of the process: -u and -g. */
import { ConfigError } from "../lib/errors.ts";
import { log } from "../lib/log.ts";
import { quoted } from "../lib/quoted.ts";
import { messageOf } from "../lib/thrown.ts";
import { setGroupsOf, userNamed } from "../sys/process.ts";

/**
 * Changes the groups first, since only the old user may change them. nbdkit(1), "-g". Without -g
 * the supplementary groups become those of the new user; nbdkit keeps the old ones, which may be
 * root's.
 */
export function changeUser(user: string | undefined, group: string | undefined): void {
  if (group !== undefined) {
    change("group", "-g/--group", group, (id) => process.setgid?.(id));
    change("group", "-g/--group", group, (id) => process.setgroups?.([id]));
    log.debug(`changed group to ${group}`);
  } else if (user !== undefined) {
    takeGroups(user);
  }
  if (user !== undefined) {
    change("user", "-u/--user", user, (id) => process.setuid?.(id));
    log.debug(`changed user to ${user}`);
  }
}

/** If the user stays the same, the server keeps its groups, which it might not be allowed to change. */
function takeGroups(user: string): void {
  const id = userId(user);
  if (id === undefined || id === process.geteuid?.()) return;
  try {
    setGroupsOf(id);
  } catch (error) {
    throw new ConfigError(
      `option -u/--user: cannot change the supplementary groups to those of ${user}: ${messageOf(error)}`,
      { cause: error },
    );
  }
  log.debug(`changed supplementary groups to ${process.getgroups?.().join(" ")}`);
}

/** The number of the user of -u; undefined if there is no such user. */
export function userId(text: string): number | undefined {
  return userNamed(text) ?? (isId(text) ? Number(text) : undefined);
}

function isId(text: string): boolean {
  return /^[0-9]{1,10}$/.test(text) && Number(text) <= mostId;
}

const mostId = 0xffff_fffe;

function change(
  kind: "group" | "user",
  option: string,
  text: string,
  set: (id: number | string) => void,
): void {
  try {
    // A name may look like a number, so names go first.
    if (trySet(set, text)) return;
    if (isId(text)) return set(Number(text));
  } catch (error) {
    const reason = messageOf(error);
    throw new ConfigError(`option ${option}: cannot change the ${kind} to ${text}: ${reason}`, {
      cause: error,
    });
  }
  throw new ConfigError(
    `option ${option}: ${quoted(text)}: expected the name or the number of a ${kind} of this machine`,
  );
}

/** False if no user has the name. */
function trySet(set: (id: string) => void, name: string): boolean {
  try {
    set(name);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ERR_UNKNOWN_CREDENTIAL") return false;
    throw error;
  }
}
