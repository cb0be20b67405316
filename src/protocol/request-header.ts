/** A request without its data, as the client sent it. */
export interface RequestHeader {
  readonly type: number;
  readonly flags: number;
  /** The cookie is two numbers, since it is only copied. */
  readonly cookieHigh: number;
  readonly cookieLow: number;
  readonly offset: bigint;
  readonly count: number;
}
