/** The fields of nbdkit's structs at their offsets on 64-bit Linux, recorded from releases, not from our headers. */

interface Row {
  /** sizeof (struct nbdkit_filter), and its fields at their offsets. */
  readonly size: number;
  readonly fields: string;
  /** The same of struct nbdkit_next_ops. */
  readonly nextSize: number;
  readonly nextFields: string;
}

/** By layout. */
export const recorded: Readonly<Record<string, Row>> = {
  original: {
    size: 200,
    fields:
      "_struct_size@0 _api_version@8 name@16 longname@24 version@32 description@40 load@48 " +
      "unload@56 config@64 config_complete@72 config_help@80 open@88 close@96 prepare@104 " +
      "finalize@112 get_size@120 can_write@128 can_flush@136 is_rotational@144 can_trim@152 " +
      "pread@160 pwrite@168 flush@176 trim@184 zero@192",
    nextSize: 80,
    nextFields:
      "get_size@0 can_write@8 can_flush@16 is_rotational@24 can_trim@32 pread@40 pwrite@48 " +
      "flush@56 trim@64 zero@72",
  },
  "1.2": {
    size: 200,
    fields:
      "_struct_size@0 _api_version@8 _thread_model@12 name@16 longname@24 version@32 " +
      "description@40 load@48 unload@56 config@64 config_complete@72 config_help@80 open@88 " +
      "close@96 prepare@104 finalize@112 get_size@120 can_write@128 can_flush@136 " +
      "is_rotational@144 can_trim@152 pread@160 pwrite@168 flush@176 trim@184 zero@192",
    nextSize: 80,
    nextFields:
      "get_size@0 can_write@8 can_flush@16 is_rotational@24 can_trim@32 pread@40 pwrite@48 " +
      "flush@56 trim@64 zero@72",
  },
  "1.4": {
    size: 208,
    fields:
      "_api_version@0 _thread_model@4 name@8 longname@16 version@24 description@32 load@40 " +
      "unload@48 config@56 config_complete@64 config_help@72 open@80 close@88 prepare@96 " +
      "finalize@104 get_size@112 can_write@120 can_flush@128 is_rotational@136 can_trim@144 " +
      "can_zero@152 can_fua@160 pread@168 pwrite@176 flush@184 trim@192 zero@200",
    nextSize: 96,
    nextFields:
      "get_size@0 can_write@8 can_flush@16 is_rotational@24 can_trim@32 can_zero@40 can_fua@48 " +
      "pread@56 pwrite@64 flush@72 trim@80 zero@88",
  },
  "1.10": {
    size: 216,
    fields:
      "_api_version@0 _thread_model@4 name@8 longname@16 version@24 description@32 load@40 " +
      "unload@48 config@56 config_complete@64 config_help@72 open@80 close@88 prepare@96 " +
      "finalize@104 get_size@112 can_write@120 can_flush@128 is_rotational@136 can_trim@144 " +
      "can_zero@152 can_fua@160 can_multi_conn@168 pread@176 pwrite@184 flush@192 trim@200 " +
      "zero@208",
    nextSize: 104,
    nextFields:
      "get_size@0 can_write@8 can_flush@16 is_rotational@24 can_trim@32 can_zero@40 can_fua@48 " +
      "can_multi_conn@56 pread@64 pwrite@72 flush@80 trim@88 zero@96",
  },
  "1.12": {
    size: 232,
    fields:
      "_api_version@0 _thread_model@4 name@8 longname@16 version@24 description@32 load@40 " +
      "unload@48 config@56 config_complete@64 config_help@72 open@80 close@88 prepare@96 " +
      "finalize@104 get_size@112 can_write@120 can_flush@128 is_rotational@136 can_trim@144 " +
      "can_zero@152 can_extents@160 can_fua@168 can_multi_conn@176 pread@184 pwrite@192 " +
      "flush@200 trim@208 zero@216 extents@224",
    nextSize: 120,
    nextFields:
      "get_size@0 can_write@8 can_flush@16 is_rotational@24 can_trim@32 can_zero@40 " +
      "can_extents@48 can_fua@56 can_multi_conn@64 pread@72 pwrite@80 flush@88 trim@96 zero@104 " +
      "extents@112",
  },
  "1.14": {
    size: 256,
    fields:
      "_api_version@0 name@8 longname@16 version@24 description@32 load@40 unload@48 config@56 " +
      "config_complete@64 config_help@72 thread_model@80 open@88 close@96 prepare@104 " +
      "finalize@112 get_size@120 can_write@128 can_flush@136 is_rotational@144 can_trim@152 " +
      "can_zero@160 can_extents@168 can_fua@176 can_multi_conn@184 can_cache@192 pread@200 " +
      "pwrite@208 flush@216 trim@224 zero@232 extents@240 cache@248",
    nextSize: 136,
    nextFields:
      "get_size@0 can_write@8 can_flush@16 is_rotational@24 can_trim@32 can_zero@40 " +
      "can_extents@48 can_fua@56 can_multi_conn@64 can_cache@72 pread@80 pwrite@88 flush@96 " +
      "trim@104 zero@112 extents@120 cache@128",
  },
  "1.15.1": {
    size: 264,
    fields:
      "_api_version@0 _version@8 name@16 longname@24 description@32 load@40 unload@48 config@56 " +
      "config_complete@64 config_help@72 thread_model@80 open@88 close@96 prepare@104 " +
      "finalize@112 get_size@120 can_write@128 can_flush@136 is_rotational@144 can_trim@152 " +
      "can_zero@160 can_fast_zero@168 can_extents@176 can_fua@184 can_multi_conn@192 " +
      "can_cache@200 pread@208 pwrite@216 flush@224 trim@232 zero@240 extents@248 cache@256",
    nextSize: 144,
    nextFields:
      "get_size@0 can_write@8 can_flush@16 is_rotational@24 can_trim@32 can_zero@40 " +
      "can_fast_zero@48 can_extents@56 can_fua@64 can_multi_conn@72 can_cache@80 pread@88 " +
      "pwrite@96 flush@104 trim@112 zero@120 extents@128 cache@136",
  },
  "1.16": {
    size: 264,
    fields:
      "_api_version@0 _version@8 name@16 longname@24 description@32 load@40 unload@48 config@56 " +
      "config_complete@64 config_help@72 thread_model@80 open@88 close@96 prepare@104 " +
      "finalize@112 get_size@120 can_write@128 can_flush@136 is_rotational@144 can_trim@152 " +
      "can_zero@160 can_fast_zero@168 can_extents@176 can_fua@184 can_multi_conn@192 " +
      "can_cache@200 pread@208 pwrite@216 flush@224 trim@232 zero@240 extents@248 cache@256",
    nextSize: 152,
    nextFields:
      "reopen@0 get_size@8 can_write@16 can_flush@24 is_rotational@32 can_trim@40 can_zero@48 " +
      "can_fast_zero@56 can_extents@64 can_fua@72 can_multi_conn@80 can_cache@88 pread@96 " +
      "pwrite@104 flush@112 trim@120 zero@128 extents@136 cache@144",
  },
  "1.17.1": {
    size: 272,
    fields:
      "_api_version@0 _version@8 name@16 longname@24 description@32 load@40 unload@48 config@56 " +
      "config_complete@64 config_help@72 thread_model@80 preconnect@88 open@96 close@104 " +
      "prepare@112 finalize@120 get_size@128 can_write@136 can_flush@144 is_rotational@152 " +
      "can_trim@160 can_zero@168 can_fast_zero@176 can_extents@184 can_fua@192 " +
      "can_multi_conn@200 can_cache@208 pread@216 pwrite@224 flush@232 trim@240 zero@248 " +
      "extents@256 cache@264",
    nextSize: 152,
    nextFields:
      "reopen@0 get_size@8 can_write@16 can_flush@24 is_rotational@32 can_trim@40 can_zero@48 " +
      "can_fast_zero@56 can_extents@64 can_fua@72 can_multi_conn@80 can_cache@88 pread@96 " +
      "pwrite@104 flush@112 trim@120 zero@128 extents@136 cache@144",
  },
  "1.18": {
    size: 280,
    fields:
      "_api_version@0 _version@8 name@16 longname@24 description@32 load@40 unload@48 config@56 " +
      "config_complete@64 config_help@72 thread_model@80 get_ready@88 preconnect@96 open@104 " +
      "close@112 prepare@120 finalize@128 get_size@136 can_write@144 can_flush@152 " +
      "is_rotational@160 can_trim@168 can_zero@176 can_fast_zero@184 can_extents@192 " +
      "can_fua@200 can_multi_conn@208 can_cache@216 pread@224 pwrite@232 flush@240 trim@248 " +
      "zero@256 extents@264 cache@272",
    nextSize: 152,
    nextFields:
      "reopen@0 get_size@8 can_write@16 can_flush@24 is_rotational@32 can_trim@40 can_zero@48 " +
      "can_fast_zero@56 can_extents@64 can_fua@72 can_multi_conn@80 can_cache@88 pread@96 " +
      "pwrite@104 flush@112 trim@120 zero@128 extents@136 cache@144",
  },
  "1.21.12": {
    size: 288,
    fields:
      "_api_version@0 _version@8 name@16 longname@24 description@32 load@40 unload@48 config@56 " +
      "config_complete@64 config_help@72 thread_model@80 get_ready@88 after_fork@96 " +
      "preconnect@104 open@112 close@120 prepare@128 finalize@136 get_size@144 can_write@152 " +
      "can_flush@160 is_rotational@168 can_trim@176 can_zero@184 can_fast_zero@192 " +
      "can_extents@200 can_fua@208 can_multi_conn@216 can_cache@224 pread@232 pwrite@240 " +
      "flush@248 trim@256 zero@264 extents@272 cache@280",
    nextSize: 152,
    nextFields:
      "reopen@0 get_size@8 can_write@16 can_flush@24 is_rotational@32 can_trim@40 can_zero@48 " +
      "can_fast_zero@56 can_extents@64 can_fua@72 can_multi_conn@80 can_cache@88 pread@96 " +
      "pwrite@104 flush@112 trim@120 zero@128 extents@136 cache@144",
  },
  "1.21.20": {
    size: 288,
    fields:
      "_api_version@0 _version@8 name@16 longname@24 description@32 load@40 unload@48 config@56 " +
      "config_complete@64 config_help@72 thread_model@80 get_ready@88 after_fork@96 " +
      "preconnect@104 open@112 close@120 prepare@128 finalize@136 get_size@144 can_write@152 " +
      "can_flush@160 is_rotational@168 can_trim@176 can_zero@184 can_fast_zero@192 " +
      "can_extents@200 can_fua@208 can_multi_conn@216 can_cache@224 pread@232 pwrite@240 " +
      "flush@248 trim@256 zero@264 extents@272 cache@280",
    nextSize: 152,
    nextFields:
      "reopen@0 get_size@8 can_write@16 can_flush@24 is_rotational@32 can_trim@40 can_zero@48 " +
      "can_fast_zero@56 can_extents@64 can_fua@72 can_multi_conn@80 can_cache@88 pread@96 " +
      "pwrite@104 flush@112 trim@120 zero@128 extents@136 cache@144",
  },
  "1.21.22": {
    size: 296,
    fields:
      "_api_version@0 _version@8 name@16 longname@24 description@32 load@40 unload@48 config@56 " +
      "config_complete@64 config_help@72 thread_model@80 get_ready@88 after_fork@96 " +
      "preconnect@104 list_exports@112 open@120 close@128 prepare@136 finalize@144 get_size@152 " +
      "can_write@160 can_flush@168 is_rotational@176 can_trim@184 can_zero@192 " +
      "can_fast_zero@200 can_extents@208 can_fua@216 can_multi_conn@224 can_cache@232 pread@240 " +
      "pwrite@248 flush@256 trim@264 zero@272 extents@280 cache@288",
    nextSize: 152,
    nextFields:
      "reopen@0 get_size@8 can_write@16 can_flush@24 is_rotational@32 can_trim@40 can_zero@48 " +
      "can_fast_zero@56 can_extents@64 can_fua@72 can_multi_conn@80 can_cache@88 pread@96 " +
      "pwrite@104 flush@112 trim@120 zero@128 extents@136 cache@144",
  },
  "1.22": {
    size: 296,
    fields:
      "_api_version@0 _version@8 name@16 longname@24 description@32 load@40 unload@48 config@56 " +
      "config_complete@64 config_help@72 thread_model@80 get_ready@88 after_fork@96 " +
      "preconnect@104 list_exports@112 open@120 close@128 prepare@136 finalize@144 get_size@152 " +
      "can_write@160 can_flush@168 is_rotational@176 can_trim@184 can_zero@192 " +
      "can_fast_zero@200 can_extents@208 can_fua@216 can_multi_conn@224 can_cache@232 pread@240 " +
      "pwrite@248 flush@256 trim@264 zero@272 extents@280 cache@288",
    nextSize: 152,
    nextFields:
      "reopen@0 get_size@8 can_write@16 can_flush@24 is_rotational@32 can_trim@40 can_zero@48 " +
      "can_fast_zero@56 can_extents@64 can_fua@72 can_multi_conn@80 can_cache@88 pread@96 " +
      "pwrite@104 flush@112 trim@120 zero@128 extents@136 cache@144",
  },
  "1.24": {
    size: 312,
    fields:
      "_api_version@0 _version@8 name@16 longname@24 description@32 load@40 unload@48 config@56 " +
      "config_complete@64 config_help@72 thread_model@80 get_ready@88 after_fork@96 " +
      "preconnect@104 list_exports@112 default_export@120 open@128 close@136 prepare@144 " +
      "finalize@152 get_size@160 export_description@168 can_write@176 can_flush@184 " +
      "is_rotational@192 can_trim@200 can_zero@208 can_fast_zero@216 can_extents@224 " +
      "can_fua@232 can_multi_conn@240 can_cache@248 pread@256 pwrite@264 flush@272 trim@280 " +
      "zero@288 extents@296 cache@304",
    nextSize: 160,
    nextFields:
      "reopen@0 get_size@8 export_description@16 can_write@24 can_flush@32 is_rotational@40 " +
      "can_trim@48 can_zero@56 can_fast_zero@64 can_extents@72 can_fua@80 can_multi_conn@88 " +
      "can_cache@96 pread@104 pwrite@112 flush@120 trim@128 zero@136 extents@144 cache@152",
  },
  "1.25.4": {
    size: 312,
    fields:
      "_api_version@0 _version@8 name@16 longname@24 description@32 load@40 unload@48 config@56 " +
      "config_complete@64 config_help@72 thread_model@80 get_ready@88 after_fork@96 " +
      "preconnect@104 list_exports@112 default_export@120 open@128 close@136 prepare@144 " +
      "finalize@152 get_size@160 export_description@168 can_write@176 can_flush@184 " +
      "is_rotational@192 can_trim@200 can_zero@208 can_fast_zero@216 can_extents@224 " +
      "can_fua@232 can_multi_conn@240 can_cache@248 pread@256 pwrite@264 flush@272 trim@280 " +
      "zero@288 extents@296 cache@304",
    nextSize: 168,
    nextFields:
      "prepare@0 finalize@8 get_size@16 export_description@24 can_write@32 can_flush@40 " +
      "is_rotational@48 can_trim@56 can_zero@64 can_fast_zero@72 can_extents@80 can_fua@88 " +
      "can_multi_conn@96 can_cache@104 pread@112 pwrite@120 flush@128 trim@136 zero@144 " +
      "extents@152 cache@160",
  },
  "1.26": {
    size: 320,
    fields:
      "_api_version@0 _version@8 name@16 longname@24 description@32 load@40 unload@48 config@56 " +
      "config_complete@64 config_help@72 thread_model@80 get_ready@88 after_fork@96 cleanup@104 " +
      "preconnect@112 list_exports@120 default_export@128 open@136 close@144 prepare@152 " +
      "finalize@160 get_size@168 export_description@176 can_write@184 can_flush@192 " +
      "is_rotational@200 can_trim@208 can_zero@216 can_fast_zero@224 can_extents@232 " +
      "can_fua@240 can_multi_conn@248 can_cache@256 pread@264 pwrite@272 flush@280 trim@288 " +
      "zero@296 extents@304 cache@312",
    nextSize: 168,
    nextFields:
      "prepare@0 finalize@8 get_size@16 export_description@24 can_write@32 can_flush@40 " +
      "is_rotational@48 can_trim@56 can_zero@64 can_fast_zero@72 can_extents@80 can_fua@88 " +
      "can_multi_conn@96 can_cache@104 pread@112 pwrite@120 flush@128 trim@136 zero@144 " +
      "extents@152 cache@160",
  },
  "1.30": {
    size: 328,
    fields:
      "_api_version@0 _version@8 name@16 longname@24 description@32 load@40 unload@48 config@56 " +
      "config_complete@64 config_help@72 thread_model@80 get_ready@88 after_fork@96 cleanup@104 " +
      "preconnect@112 list_exports@120 default_export@128 open@136 close@144 prepare@152 " +
      "finalize@160 get_size@168 export_description@176 block_size@184 can_write@192 " +
      "can_flush@200 is_rotational@208 can_trim@216 can_zero@224 can_fast_zero@232 " +
      "can_extents@240 can_fua@248 can_multi_conn@256 can_cache@264 pread@272 pwrite@280 " +
      "flush@288 trim@296 zero@304 extents@312 cache@320",
    nextSize: 176,
    nextFields:
      "prepare@0 finalize@8 get_size@16 export_description@24 block_size@32 can_write@40 " +
      "can_flush@48 is_rotational@56 can_trim@64 can_zero@72 can_fast_zero@80 can_extents@88 " +
      "can_fua@96 can_multi_conn@104 can_cache@112 pread@120 pwrite@128 flush@136 trim@144 " +
      "zero@152 extents@160 cache@168",
  },
  "1.36": {
    size: 336,
    fields:
      "_api_version@0 _version@8 name@16 longname@24 description@32 load@40 unload@48 config@56 " +
      "config_complete@64 config_help@72 thread_model@80 dump_plugin@88 get_ready@96 " +
      "after_fork@104 cleanup@112 preconnect@120 list_exports@128 default_export@136 open@144 " +
      "close@152 prepare@160 finalize@168 get_size@176 export_description@184 block_size@192 " +
      "can_write@200 can_flush@208 is_rotational@216 can_trim@224 can_zero@232 " +
      "can_fast_zero@240 can_extents@248 can_fua@256 can_multi_conn@264 can_cache@272 pread@280 " +
      "pwrite@288 flush@296 trim@304 zero@312 extents@320 cache@328",
    nextSize: 176,
    nextFields:
      "prepare@0 finalize@8 get_size@16 export_description@24 block_size@32 can_write@40 " +
      "can_flush@48 is_rotational@56 can_trim@64 can_zero@72 can_fast_zero@80 can_extents@88 " +
      "can_fua@96 can_multi_conn@104 can_cache@112 pread@120 pwrite@128 flush@136 trim@144 " +
      "zero@152 extents@160 cache@168",
  },
  "1.44": {
    size: 336,
    fields:
      "_api_version@0 _version@8 name@16 longname@24 description@32 load@40 unload@48 config@56 " +
      "config_complete@64 config_help@72 thread_model@80 dump_plugin@88 get_ready@96 " +
      "after_fork@104 cleanup@112 preconnect@120 list_exports@128 default_export@136 open@144 " +
      "close@152 prepare@160 finalize@168 get_size@176 export_description@184 block_size@192 " +
      "can_write@200 can_flush@208 is_rotational@216 can_trim@224 can_zero@232 " +
      "can_fast_zero@240 can_extents@248 can_fua@256 can_multi_conn@264 can_cache@272 pread@280 " +
      "pwrite@288 flush@296 trim@304 zero@312 extents@320 cache@328",
    nextSize: 176,
    nextFields:
      "prepare@0 finalize@8 get_size@16 export_description@24 block_size@32 can_write@40 " +
      "can_flush@48 is_rotational@56 can_trim@64 can_zero@72 can_fast_zero@80 can_extents@88 " +
      "can_fua@96 can_multi_conn@104 can_cache@112 pread@120 pwrite@128 flush@136 trim@144 " +
      "zero@152 extents@160 cache@168",
  },
};

/**
 * struct nbdkit_plugin in version 2 of the API: its size since a release, and the fields which that release added. The
 * struct only grows at its end.
 */
export const recordedPlugin: Readonly<Record<string, Pick<Row, "fields" | "size">>> = {
  "1.30": {
    size: 384,
    fields:
      "_struct_size@0 _api_version@8 _thread_model@12 name@16 longname@24 version@32 " +
      "description@40 load@48 unload@56 config@64 config_complete@72 config_help@80 open@88 " +
      "close@96 get_size@104 can_write@112 can_flush@120 is_rotational@128 can_trim@136 " +
      "_pread_v1@144 _pwrite_v1@152 _flush_v1@160 _trim_v1@168 _zero_v1@176 " +
      "errno_is_preserved@184 dump_plugin@192 can_zero@200 can_fua@208 pread@216 pwrite@224 " +
      "flush@232 trim@240 zero@248 magic_config_key@256 can_multi_conn@264 can_extents@272 " +
      "extents@280 can_cache@288 cache@296 thread_model@304 can_fast_zero@312 preconnect@320 " +
      "get_ready@328 after_fork@336 list_exports@344 default_export@352 export_description@360 " +
      "cleanup@368 block_size@376",
  },
};
