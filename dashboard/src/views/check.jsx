// Is the mesh well? The findings of `weftctl check`, each bad one with what to do.
import { useEffect, useState } from 'preact/hooks';
import { ask } from '../live.js';
import { Empty, Icon, Panel } from './parts.jsx';

const LEVELS = { ok: 'good', warning: 'warn', failed: 'bad' };
const ICONS = { ok: 'check', warning: 'alert', failed: 'cross' };

export function Check() {
    const [state, set] = useState({ findings: null, error: null, busy: true });
    const look = () => {
        set((old) => ({ ...old, busy: true }));
        ask('/api/check').then((findings) => set({ findings, error: null, busy: false }), (error) => set({ findings: null, error: error.message, busy: false }));
    };
    useEffect(look, []);
    const failed = state.findings?.filter((finding) => finding.result === 'failed').length ?? 0;
    return <>
        <div class="heading"><h1>Check</h1>
            {state.findings && <span class="note" role="status">{failed ? `${failed} of ${state.findings.length} failed` : `all ${state.findings.length} passed`}</span>}
            <button type="button" onClick={look} disabled={state.busy}>{state.busy ? 'Looking…' : 'Check again'}</button></div>
        {state.error && <Empty title={state.error} />}
        {!state.findings && !state.error && <Empty title="Looking…">Proxies that are catching up get a few seconds.</Empty>}
        {state.findings && <Panel title="Findings" id="findings-title"><ul class="findings">{state.findings.map((finding) =>
            <li key={finding.what} data-level={LEVELS[finding.result]}><Icon name={ICONS[finding.result]} label={finding.result} />
                <div><b>{finding.what}</b>{finding.faults.map((fault) => <span key={fault}>{fault}</span>)}
                    {finding.faults.length > 0 && <small>{finding.advice}</small>}</div></li>)}</ul></Panel>}
    </>;
}
