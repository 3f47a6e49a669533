/** What is known of one service's live state. Pure: an event comes in, the next state goes out. */

export const PING_EVERY_MS = 10_000
export const SILENT_AFTER_MS = 2 * PING_EVERY_MS + 2_000 // two pings missed, and the way of the third

export type FeedEvent =
  | { kind: 'open' } // the stream stands
  | { kind: 'heard' } // a ping or a change came
  | { kind: 'read' } // the whole snapshot was read
  | { kind: 'partly'; problem: string } // a part of it was read, or it was read and is older than the stream
  | { kind: 'failed'; problem: string } // nothing of it could be read
  | { kind: 'reset' } // the stream stands, but something of it was missed
  | { kind: 'error' } // the stream broke
  | { kind: 'tick' }

/**
 * `waiting`: nothing came yet. `live`: all numbers were read since the stream stands. `frozen`: there are numbers, but they may be old:
 * `since` is when they were all known to be true. `away`: there are no numbers; `since` the first failure.
 */
export interface Feed {
  phase: 'waiting' | 'live' | 'frozen' | 'away'
  streaming: boolean
  hasNumbers: boolean
  current: boolean // all numbers were read since the stream stands, and nothing was missed since
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
      if (!feed.streaming) next.current = false // what was read before it stood may have changed since
      next.streaming = true
      next.heardAt = at
      break
    case 'read':
      next.hasNumbers = true
      next.current = next.streaming
      next.problem = ''
      if (!next.streaming) next.heardAt = next.since = at
      break
    case 'partly':
      if (!feed.hasNumbers) next.heardAt = at
      next.hasNumbers = true
      next.problem = event.problem
      break
    case 'failed':
      next.problem = event.problem
      break
    case 'reset':
      next.current = false
      break
    case 'error':
    case 'tick':
      next.streaming = next.current = false
  }
  next.phase = phaseOf(next)
  if (next.phase !== feed.phase) next.since = next.phase === 'frozen' ? next.heardAt : at
  return next
}

/** What a reading of all parts says: only when nothing failed, and nothing is older than the stream, everything is read. */
export function readingTold(parts: number, problems: readonly string[], isBehind: boolean): FeedEvent {
  if (!problems.length) return isBehind ? { kind: 'partly', problem: '' } : { kind: 'read' }
  const problem = problems.find(Boolean) ?? 'network'
  return { kind: problems.length < parts ? 'partly' : 'failed', problem }
}

function phaseOf(feed: Feed): Feed['phase'] {
  if (feed.problem && !feed.hasNumbers) return 'away'
  if (!feed.hasNumbers) return feed.phase === 'away' ? 'away' : 'waiting'
  // numbers of before a break are not live until they are read again
  return feed.streaming && feed.current ? 'live' : 'frozen'
}
