import type { ComponentChildren } from 'preact'
import { useRef } from 'preact/hooks'

export interface TabOf<T extends string> {
  id: T
  label: ComponentChildren
  panel: ComponentChildren
}

/** Tabs by the usual keys; the panels of the others stay in the page, hidden, for print. */
export function Tabs<T extends string>(props: { label: string; tabs: readonly TabOf<T>[]; active: T; show: (id: T) => void }) {
  const list = useRef<HTMLDivElement>(null)
  const move = (event: KeyboardEvent) => {
    const at = props.tabs.findIndex((tab) => tab.id === props.active)
    const steps: Record<string, number> = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: props.tabs.length - 1 }
    const to = steps[event.key]
    if (to === undefined) return
    event.preventDefault()
    const next = props.tabs[(to + props.tabs.length) % props.tabs.length]
    if (!next) return
    props.show(next.id)
    list.current?.querySelector<HTMLElement>(`#tab-${next.id}`)?.focus()
  }
  return (
    <>
      <div class="tabs" role="tablist" aria-label={props.label} ref={list} onKeyDown={move}>
        {props.tabs.map((tab) => (
          <button
            key={tab.id}
            type="button"
            role="tab"
            id={`tab-${tab.id}`}
            aria-selected={tab.id === props.active}
            aria-controls={`panel-${tab.id}`}
            tabIndex={tab.id === props.active ? 0 : -1}
            onClick={() => props.show(tab.id)}
          >
            {tab.label}
          </button>
        ))}
      </div>
      {props.tabs.map((tab) => (
        <div key={tab.id} class="panel" role="tabpanel" id={`panel-${tab.id}`} aria-labelledby={`tab-${tab.id}`} hidden={tab.id !== props.active}>
          {tab.panel}
        </div>
      ))}
    </>
  )
}
