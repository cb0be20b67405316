/** Numbers of the NBD protocol (doc/proto.md of the NBD project), and the server's limits. */

export const NBDMAGIC = 0x4e42444d41474943n;
export const IHAVEOPT = 0x49484156454f5054n;
/** The magic number of an oldstyle greeting, in place of IHAVEOPT. */
export const OLDSTYLE_MAGIC = 0x00420281861253n;
export const OPTION_REPLY_MAGIC = 0x0003e889045565a9n;
export const REQUEST_MAGIC = 0x25609513;
export const SIMPLE_REPLY_MAGIC = 0x67446698;
export const STRUCTURED_REPLY_MAGIC = 0x668e33ef;

/** Handshake flags; the client's flags have the same values. */
export const FLAG_FIXED_NEWSTYLE = 1;
export const FLAG_NO_ZEROES = 2;

export const OPT_EXPORT_NAME = 1;
export const OPT_ABORT = 2;
export const OPT_LIST = 3;
export const OPT_STARTTLS = 5;
export const OPT_INFO = 6;
export const OPT_GO = 7;
export const OPT_STRUCTURED_REPLY = 8;
export const OPT_LIST_META_CONTEXT = 9;
export const OPT_SET_META_CONTEXT = 10;

const optionNames: Readonly<Record<number, string>> = {
  1: "NBD_OPT_EXPORT_NAME",
  2: "NBD_OPT_ABORT",
  3: "NBD_OPT_LIST",
  5: "NBD_OPT_STARTTLS",
  6: "NBD_OPT_INFO",
  7: "NBD_OPT_GO",
  8: "NBD_OPT_STRUCTURED_REPLY",
  9: "NBD_OPT_LIST_META_CONTEXT",
  10: "NBD_OPT_SET_META_CONTEXT",
  11: "NBD_OPT_EXTENDED_HEADERS",
};

export const REP_ACK = 1;
export const REP_SERVER = 2;
export const REP_INFO = 3;
export const REP_META_CONTEXT = 4;
export const REP_ERR_UNSUP = 0x80000001;
export const REP_ERR_POLICY = 0x80000002;
export const REP_ERR_INVALID = 0x80000003;
export const REP_ERR_PLATFORM = 0x80000004;
export const REP_ERR_TLS_REQD = 0x80000005;
export const REP_ERR_UNKNOWN = 0x80000006;
export const REP_ERR_TOO_BIG = 0x80000009;

const replyNames: Readonly<Record<number, string>> = {
  [REP_ACK]: "NBD_REP_ACK",
  [REP_SERVER]: "NBD_REP_SERVER",
  [REP_INFO]: "NBD_REP_INFO",
  [REP_META_CONTEXT]: "NBD_REP_META_CONTEXT",
  [REP_ERR_UNSUP]: "NBD_REP_ERR_UNSUP",
  [REP_ERR_POLICY]: "NBD_REP_ERR_POLICY",
  [REP_ERR_INVALID]: "NBD_REP_ERR_INVALID",
  [REP_ERR_PLATFORM]: "NBD_REP_ERR_PLATFORM",
  [REP_ERR_TLS_REQD]: "NBD_REP_ERR_TLS_REQD",
  [REP_ERR_UNKNOWN]: "NBD_REP_ERR_UNKNOWN",
  [REP_ERR_TOO_BIG]: "NBD_REP_ERR_TOO_BIG",
};

export const INFO_EXPORT = 0;
export const INFO_NAME = 1;
export const INFO_DESCRIPTION = 2;
export const INFO_BLOCK_SIZE = 3;

/** The only metadata context, and its number in block status replies. */
export const BASE_ALLOCATION = "base:allocation";
export const BASE_ALLOCATION_ID = 1;

/** Transmission flags. */
export const EFLAG_HAS_FLAGS = 1;
export const EFLAG_READ_ONLY = 2;
export const EFLAG_SEND_FLUSH = 4;
export const EFLAG_SEND_FUA = 8;
export const EFLAG_ROTATIONAL = 16;
export const EFLAG_SEND_TRIM = 32;
export const EFLAG_SEND_WRITE_ZEROES = 64;
export const EFLAG_SEND_DF = 128;
export const EFLAG_CAN_MULTI_CONN = 256;
export const EFLAG_SEND_CACHE = 1024;
export const EFLAG_SEND_FAST_ZERO = 2048;

export const CMD_READ = 0;
export const CMD_WRITE = 1;
export const CMD_DISC = 2;
export const CMD_FLUSH = 3;
export const CMD_TRIM = 4;
export const CMD_CACHE = 5;
export const CMD_WRITE_ZEROES = 6;
export const CMD_BLOCK_STATUS = 7;

const commandNames: Readonly<Record<number, string>> = {
  [CMD_READ]: "NBD_CMD_READ",
  [CMD_WRITE]: "NBD_CMD_WRITE",
  [CMD_DISC]: "NBD_CMD_DISC",
  [CMD_FLUSH]: "NBD_CMD_FLUSH",
  [CMD_TRIM]: "NBD_CMD_TRIM",
  [CMD_CACHE]: "NBD_CMD_CACHE",
  [CMD_WRITE_ZEROES]: "NBD_CMD_WRITE_ZEROES",
  [CMD_BLOCK_STATUS]: "NBD_CMD_BLOCK_STATUS",
};

export const CMD_FLAG_FUA = 1;
export const CMD_FLAG_NO_HOLE = 2;
export const CMD_FLAG_DF = 4;
export const CMD_FLAG_REQ_ONE = 8;
export const CMD_FLAG_FAST_ZERO = 16;

/** Kinds of chunks in structured replies. */
export const CHUNK_OFFSET_DATA = 1;
export const CHUNK_OFFSET_HOLE = 2;
export const CHUNK_BLOCK_STATUS = 5;
export const CHUNK_ERROR = 0x8001;
export const CHUNK_ERROR_OFFSET = 0x8002;
/** The chunk is the last of its reply. */
export const CHUNK_FLAG_DONE = 1;

export const REQUEST_HEADER_BYTES = 28;
export const SIMPLE_HEADER_BYTES = 16;
export const CHUNK_HEADER_BYTES = 20;

/** The longest name, description or message. */
export const MAX_STRING_BYTES = 4096;
export const MAX_OPTIONS = 32;
export const MAX_OPTION_BYTES = 64 << 20;
/** The server ignores longer lists of metadata contexts, which have tens of thousands of entries. */
export const MAX_META_BYTES = 1 << 20;
/** The largest READ and WRITE. */
export const MAX_REQUEST_BYTES = 64 << 20;
/** The server skips the payload of a refused WRITE up to this size, and closes the connection if it is longer. */
export const MAX_SKIPPED_BYTES = 128 << 20;

export function optionName(option: number): string {
  return optionNames[option] ?? `unknown option 0x${option.toString(16)}`;
}

export function replyName(reply: number): string {
  return replyNames[reply] ?? `unknown reply 0x${reply.toString(16)}`;
}

export function commandName(command: number): string {
  return commandNames[command] ?? `unknown command 0x${command.toString(16)}`;
}
