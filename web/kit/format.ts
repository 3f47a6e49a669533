/** Numbers and names as they are shown. Pure. */

/** Puts values into a text: `{n} min ago`. */
export function fill(text: string, values: Record<string, string | number>): string {
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => (name in values ? String(values[name]) : whole))
}

export interface Ratio {
  numerator: number
  denominator: number
}

/** Whether a target is a number to reach (5,000 charging points) rather than a share. */
export function isCount(target: Ratio): boolean {
  return target.denominator === 1 && target.numerator > 1
}

const MOST_DIGITS = 10

/**
 * A share in percent with as many digits as tell it from its target: 14.98 % is never shown as the 15 % that it misses. What is
 * the target to the last unit has its one digit; both are counts, so that this is known and not rounded.
 */
export function percent(share: Ratio, target: Ratio, locale: string): string {
  const isTarget = share.numerator * target.denominator === target.numerator * share.denominator
  const [value, aim] = [share.numerator / share.denominator, target.numerator / target.denominator]
  let digits = 1
  while (!isTarget && digits < MOST_DIGITS && round(value * 100, digits) === round(aim * 100, digits)) digits += 1
  return `${round(value * 100, digits).toLocaleString(locale, { maximumFractionDigits: digits })} %`
}

/** A target in percent, shortest: 15 %, 33.3 %. */
export function percentOf(target: Ratio, locale: string): string {
  return `${((target.numerator / target.denominator) * 100).toLocaleString(locale, { maximumFractionDigits: 1 })} %`
}

/** `1 : 3` where that is how the plan says it and percent is not even; else nothing. */
export function asProportion(target: Ratio): string {
  return target.numerator === 1 && target.denominator > 1 && 100 % target.denominator !== 0 ? `1 : ${target.denominator}` : ''
}

/** Kilometres with one digit. */
export function kilometres(metres: number, locale: string): string {
  return (metres / 1000).toLocaleString(locale, { minimumFractionDigits: 1, maximumFractionDigits: 1 })
}

/** A name without the mark of an invented thing: the page marks it in its own way. */
export function plainName(name: string, invented: boolean): string {
  return invented ? name.replace(/\s*(（虚构）|\(invented\))$/, '') : name
}

function round(value: number, digits: number): number {
  return Number(value.toFixed(digits))
}

/** A chance in whole hundredths; only what is sure says so. */
export function chancePercent(chance: number): string {
  const whole = Math.round(chance * 100)
  if (whole === 100 && chance < 1) return '>99'
  return whole === 0 && chance > 0 ? '<1' : String(whole)
}
