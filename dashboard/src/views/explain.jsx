// What a proxy would do with a request that nobody sends: a form and the verdict.
import { useState } from 'preact/hooks';
import { ask, mesh } from '../live.js';
import { duration, latency } from '../format.js';
import { Badge, Icon, Panel, Table } from './parts.jsx';

function verdict({ outcome, ways }) {
    if (outcome === 'forwarded') {
        const to = [...new Set(ways.map((way) => `${way.service.name} in ${way.service.namespace}`))];
        return { level: 'good', icon: 'arrow', title: 'It is sent', text: ways.length > 1 ? `to one of ${to.join(', ')}` : `to an endpoint of ${to[0] ?? 'the service'}` };
    }
    if (outcome.redirected) return { level: 'warn', icon: 'arrow', title: `It is redirected: ${outcome.redirected.status}`, text: outcome.redirected.location };
    const { status, reason, text } = outcome.refused;
    return { level: 'bad', icon: 'cross', title: status ? `It is refused: ${status} ${reason}` : `It is reset: ${reason}`, text: text ?? '' };
}

const STANDING = (standing) => {
    if (standing === 'candidate') return { level: 'good', text: 'takes part' };
    if (standing.out) return { level: 'bad', text: standing.out.replace('-', ' ') };
    const later = standing.later;
    if (later?.ejected) return { level: 'bad', text: `ejected: ${later.ejected.cause}` };
    if (later?.unreached) return { level: 'bad', text: 'could not be reached' };
    return { level: 'idle', text: `later: ${String(later).replace('-', ' ')}` };
};

const access = (way) => {
    const ruling = way.access?.ruling;
    if (ruling === undefined) return null;
    if (typeof ruling === 'string') return ruling === 'open' || ruling === 'untold' ? 'no policy concerns it' : ruling.replace('-', ' ');
    if (ruling.allowed) return `allowed by ${ruling.allowed.policy}`;
    if (ruling.refused) return `denied by ${ruling.refused.policy}`;
    return ruling.unknown ?? '';
};

function Answer({ answer }) {
    const { explanation, text } = answer;
    const said = verdict(explanation);
    return <div class="answer" aria-live="polite">
        <div class="verdict" data-level={said.level} data-verdict={said.level} role="status"><Icon name={said.icon} /><div><b>{said.title}</b><span>{said.text}</span></div></div>
        {explanation.ways.filter((way) => way.tries).map((way) =>
            <Panel key={`${way.service.namespace}/${way.service.name}:${way.port}`} id={`way-${way.service.name}-${way.port}`}
                title={`${way.service.name}:${way.port}`} note={`${Math.round(way.share)}% · ${way.tries.balancer}${access(way) ? ` · ${access(way)}` : ''}`}>
                <Table caption={`Endpoints of ${way.service.name}`} id={(row) => row.id} nothing="No endpoints" rows={way.tries.endpoints} columns={[
                    ['Endpoint', (row) => <>{row.id}<small>{row.address}</small></>],
                    ['First try', (row) => { const { level, text: why } = STANDING(row.standing); return <Badge level={level}>{why}</Badge>; }],
                    ['In flight', (row) => row.in_flight, 'num'],
                    ['EWMA', (row) => latency(duration(row.latency) || null), 'num'],
                    ['Weight', (row) => row.weight, 'num'],
                ]} /></Panel>)}
        <Panel title="Step by step" id="steps-title"><pre tabindex="0">{text}</pre></Panel>
    </div>;
}

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];

export function Explain() {
    const given = new URLSearchParams(location.hash.split('?')[1] ?? '');
    const [state, set] = useState({ answer: null, error: null, busy: false });
    const proxies = mesh.value?.proxies ?? [];
    const services = mesh.value?.services ?? [];
    const submit = async (event) => {
        event.preventDefault();
        const form = new FormData(event.currentTarget);
        const headers = form.get('headers').split('\n').map((line) => line.trim()).filter(Boolean);
        const grpc = form.get('grpc').trim();
        set((old) => ({ ...old, busy: true }));
        try {
            const answer = await ask('/api/explain', { from: form.get('from').trim(), to: form.get('to').trim(), method: grpc ? '' : form.get('method'), headers, grpc });
            set({ answer, error: null, busy: false });
        } catch (error) {
            set({ answer: null, error: error.message, busy: false });
        }
    };
    return <>
        <div class="heading"><h1>Explain</h1><span class="note">what would become of a request, said by the proxies themselves; nothing is sent</span></div>
        <form class="panel form" onSubmit={submit}>
            <label>From <input name="from" required list="proxies" placeholder="shop/frontend-0" autocomplete="off" spellcheck={false} defaultValue={given.get('from') ?? ''} /></label>
            <datalist id="proxies">{proxies.map((proxy) => <option value={`${proxy.namespace}/${proxy.name}`} />)}</datalist>
            <label class="wide">To <input name="to" required list="targets" placeholder="http://search.shop:8080/" autocomplete="off" spellcheck={false} defaultValue={given.get('to') ?? ''} /></label>
            <datalist id="targets">{services.map((service) => <option value={`http://${service.name}.${service.namespace}:${service.ports[0]?.port ?? 80}/`} />)}</datalist>
            <label>Method <select name="method">{METHODS.map((one) => <option>{one}</option>)}</select></label>
            <label>gRPC method instead <input name="grpc" placeholder="package.Service/Method" autocomplete="off" spellcheck={false} /></label>
            <label class="wide">Headers, one a line <textarea name="headers" rows={2} placeholder="user: alice" spellcheck={false} /></label>
            <button type="submit" class="primary" disabled={state.busy}>{state.busy ? 'Asking…' : 'Explain'}</button>
        </form>
        {state.error && <div class="banner bad inline" role="alert" data-error="explain"><Icon name="alert" /><span>{state.error}</span></div>}
        {state.answer && <Answer answer={state.answer} />}
    </>;
}
