import { useRef } from 'preact/hooks'

/** A number that lights up for a moment when it changes (not for who asked for less motion). */
export function Changing({ value }: { value: string | number }) {
  const before = useRef(value)
  const changes = useRef(0)
  if (before.current !== value) {
    before.current = value
    changes.current += 1
  }
  return (
    <span key={changes.current} class={changes.current ? 'changing changed' : 'changing'}>
      {value}
    </span>
  )
}
