// Where nodes and edges go: dagre's layers, from callers to called. Pure; the same picture for the same names.
import { Graph, layout } from '@dagrejs/dagre';

export const NODE = { width: 188, height: 80 };
const LABEL = { width: 94, height: 38 };

/** `down`: from top to bottom, for narrow windows. */
export function place(nodes, edges, down) {
    const graph = new Graph();
    graph.setGraph({ rankdir: down ? 'TB' : 'LR', nodesep: down ? 20 : 26, ranksep: down ? 30 : 22, marginx: 6, marginy: 10 });
    graph.setDefaultEdgeLabel(() => ({}));
    for (const id of nodes) graph.setNode(id, { ...NODE });
    for (const { id, from, to } of edges) graph.setEdge(from, to, { id, ...LABEL, labelpos: 'c' });
    layout(graph);
    const placed = new Map(graph.nodes().map((id) => [id, graph.node(id)]));
    const routes = new Map(graph.edges().map((edge) => {
        const found = graph.edge(edge);
        return [found.id, { points: found.points, x: found.x, y: found.y }];
    }));
    const { width, height } = graph.graph();
    return { width, height, placed, routes };
}

/** A smooth path through points: straight at its ends, curved in between. */
export function path(points) {
    if (points.length < 3) return points.map(({ x, y }, at) => `${at ? 'L' : 'M'}${x},${y}`).join('');
    let text = `M${points[0].x},${points[0].y}`;
    for (let at = 1; at < points.length - 1; at += 1) {
        const last = at === points.length - 2;
        const next = points[at + 1];
        const end = last ? next : { x: (points[at].x + next.x) / 2, y: (points[at].y + next.y) / 2 };
        text += `Q${points[at].x},${points[at].y} ${end.x},${end.y}`;
    }
    return text;
}
