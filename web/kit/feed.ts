/** What is known of one service's live state. Pure: an event comes in, the next state goes out. */

export const PING_EVERY_MS = 10_000
export const SILENT_AFTER_MS = 2 * PING_EVERY_MS + 2_000 // two pings missed, and the way of the third

export type FeedEvent =
  | { kind: 'open' } // the stream stands
  | { kind: 'heard' } // a ping or a change came
  | { kind: 'read' } // a snapshot was read
  | { kind: 'failed'; problem: string } // the snapshot could not be read
  | { kind: 'error' } // the stream broke
  | { kind: 'tick' }

/**
 * `waiting`: nothing came yet. `live`: numbers are read and the stream stands. `frozen`: numbers are read and the stream does not
 * stand: they are of `heardAt` at the newest. `away`: there are no numbers; `since` the first failure.
 */
export interface Feed {
  phase: 'waiting' | 'live' | 'frozen' | 'away'
  streaming: boolean
  hasNumbers: boolean
  current: boolean // the numbers were read since the stream stands, or nothing was missed
  heardAt: number
  since: number
  problem: string
}

export function newFeed(at: number): Feed {
  return { phase: 'waiting', streaming: false, hasNumbers: false, current: false, heardAt: at, since: at, problem: '' }
}

/** The same object when a tick changes nothing: who watches it is not called. */
export function nextFeed(feed: Feed, event: FeedEvent, at: number): Feed {
  if (event.kind === 'tick' && !(feed.streaming && at - feed.heardAt > SILENT_AFTER_MS)) return feed
  const next = { ...feed }
  switch (event.kind) {
    case 'open':
    case 'heard':
      next.streaming = true
      next.heardAt = at
      break
    case 'read':
      next.hasNumbers = true
      next.current = true
      next.problem = ''
      if (!next.streaming) next.heardAt = at
      break
    case 'failed':
      next.problem = event.problem
      break
    case 'error':
      next.streaming = next.current = false
      break
    case 'tick':
      next.streaming = next.current = false
  }
  next.phase = phaseOf(next)
  if (next.phase !== feed.phase) next.since = next.phase === 'frozen' ? next.heardAt : at
  return next
}

function phaseOf(feed: Feed): Feed['phase'] {
  if (feed.problem && !feed.hasNumbers) return 'away'
  if (!feed.hasNumbers) return feed.phase === 'away' ? 'away' : 'waiting'
  // numbers of before a break are not live until they are read again
  return feed.streaming && feed.current ? 'live' : 'frozen'
}
