/** Where the points of a trend lie in a small picture. Pure. */

import { daysBetween } from './time.ts'
import type { TrendDay } from './types.ts'

export interface TrendShape {
  lines: string[] // points of an SVG polyline; a day without a value, or that was not published, breaks it
  dots: { x: number; y: number }[] // values that stand alone
  last: { x: number; y: number } | null
  targetY: number
  deadlineX: number | null // when it lies in the picture
  todayX: number
}

export interface Frame {
  width: number
  height: number
  pad: number
}

/** From the first day to the deadline, or to today when that has passed; from 0 to a little above the largest, target included. */
export function trendShape(days: readonly TrendDay[], target: number, deadline: string, today: string, frame: Frame): TrendShape {
  const first = days[0]?.on ?? today
  const end = daysBetween(today, deadline) > 0 ? deadline : today
  const history = Math.max(1, daysBetween(first, today))
  const span = Math.min(Math.max(1, daysBetween(first, end)), history * 2.5) // a far deadline does not squeeze the history
  const values = days.map((day) => (day.value === null ? null : Number(day.value)))
  const known = values.filter((value) => value !== null)
  const [low, high] = bounds([...known, target])
  const x = (on: string) => round(frame.pad + (Math.min(span, daysBetween(first, on)) / span) * (frame.width - 2 * frame.pad))
  const y = (value: number) => round(frame.height - frame.pad - ((value - low) / (high - low)) * (frame.height - 2 * frame.pad))
  const pieces: { x: number; y: number }[][] = [[]]
  days.forEach((day, number) => {
    const [value, before] = [values[number], days[number - 1]]
    if (before && daysBetween(before.on, day.on) > 1) pieces.push([]) // what was not published is not known
    if (value === null || value === undefined) pieces.push([])
    else pieces.at(-1)?.push({ x: x(day.on), y: y(value) })
  })
  const deadlineAt = daysBetween(first, deadline)
  return {
    lines: pieces.filter((piece) => piece.length > 1).map((piece) => piece.map((at) => `${at.x},${at.y}`).join(' ')),
    dots: pieces.filter((piece) => piece.length === 1).flat(),
    last: pieces.flat().at(-1) ?? null,
    targetY: y(target),
    deadlineX: deadlineAt >= 0 && deadlineAt <= span ? x(deadline) : null,
    todayX: x(today),
  }
}

function bounds(values: number[]): [number, number] {
  const [least, most] = [Math.min(...values), Math.max(...values)]
  const room = (most - least) * 0.15 || most * 0.1 || 1
  return [Math.max(0, least - room), most + room]
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}
