/** A filter that stops the server when a client leaves. */
import { defineFilter, shutdown } from "#api";

// oxlint-disable-next-line import/no-default-export -- the chain loads what a module exports by default
export default defineFilter({ name: "leaving", close: shutdown });
