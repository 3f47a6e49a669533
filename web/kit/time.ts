/** Instants as people read them: how long ago, and the hour in the city. The services' clock counts, not this computer's. */

export const CITY_ZONE = 'Asia/Shanghai'
const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

export type Unit = 'now' | 'minutes' | 'hours' | 'days'

/** How old something is, in the largest unit that fits. What seems to come from the future is new. */
export function age(fromMs: number, nowMs: number): { unit: Unit; count: number } {
  const passed = nowMs - fromMs
  if (passed < MINUTE) return { unit: 'now', count: 0 }
  if (passed < HOUR) return { unit: 'minutes', count: Math.floor(passed / MINUTE) }
  if (passed < 2 * DAY) return { unit: 'hours', count: Math.floor(passed / HOUR) }
  return { unit: 'days', count: Math.floor(passed / DAY) }
}

/** How far this computer's clock is behind a service's, from an instant that it just told; small differences are the way's. */
export function clockSkew(toldMs: number, hereMs: number): number {
  const skew = toldMs - hereMs
  return Math.abs(skew) < 2_000 ? 0 : skew
}

/** Days from one local date to another (`2026-11-26`); negative when the second came first. */
export function daysBetween(from: string, to: string): number {
  return Math.round((Date.parse(`${to}T00:00:00Z`) - Date.parse(`${from}T00:00:00Z`)) / DAY)
}

/** The city's date at an instant, as `2026-11-26`. */
export function cityDay(atMs: number): string {
  return new Intl.DateTimeFormat('sv-SE', { timeZone: CITY_ZONE }).format(atMs)
}

/** `14:05:09`, or with `date` `2026-11-26 14:05:09`, in the city. */
export function cityTime(atMs: number, style: 'clock' | 'minute' | 'full' = 'clock'): string {
  const options: Intl.DateTimeFormatOptions = { timeZone: CITY_ZONE, hourCycle: 'h23', hour: '2-digit', minute: '2-digit' }
  if (style !== 'minute') options.second = '2-digit'
  if (style === 'full') Object.assign(options, { year: 'numeric', month: '2-digit', day: '2-digit' })
  return new Intl.DateTimeFormat('sv-SE', options).format(atMs)
}
