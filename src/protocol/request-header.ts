/** A client's request without its data. */
export interface RequestHeader {
  readonly type: number;
  readonly flags: number;
  /** The cookie is only copied, so two numbers are enough. */
  readonly cookieHigh: number;
  readonly cookieLow: number;
  readonly offset: bigint;
  readonly count: number;
}
