/** A filter that shuts the server down when a client disconnects. */
import { defineFilter, shutdown } from "#api";

// oxlint-disable-next-line import/no-default-export -- the chain loads what a module exports by default
export default defineFilter({ name: "leaving", close: shutdown });
