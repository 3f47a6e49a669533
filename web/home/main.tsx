import '../kit/tokens.css'
import '../kit/kit.css'
import './home.css'
import './print.css'
import '../kit/theme.ts'
import { effect } from '@preact/signals'
import { render } from 'preact'
import { locale, t } from '../kit/i18n.ts'
import { begin } from './city.ts'
import { Page } from './page.tsx'

effect(() => {
  document.documentElement.lang = locale()
  document.title = t('page.title')
})

const root = document.getElementById('page')
if (root) render(<Page />, root)
begin()
