#!/usr/bin/perl

# Why: every other test believes the harness.  Here it is held against nginx
# without the module, Redis and openssl, and its own alarms are set off.

use strict;
use warnings;

use JSON::PP ();

use Lockbox::Jose qw(
    b64url_decode b64url_encode decode jwk jwks key sign thumbprint token
    verify
);
use Test::Lockbox;

my $t = Test::Lockbox->new;

$t->redis(port => 6379);
$t->upstream(handler => \&answer);
$t->write_conf($t->conf(module => 0, server => <<'EOF_CONF'));
    location = /reset {
        reset_timedout_connection on;
        return 444;
    }

    location = /twice {
        add_header Set-Cookie one;
        add_header Set-Cookie two;
        return 204;
    }
EOF_CONF
$t->run;


# Requests and what the upstream has seen of them

my $r = $t->http('POST', '/a?b=c', json => { x => 1 }, token => 'abc');
is $r->status, 200, 'a response';
is $r->header('Content-Type'), 'application/json', 'a header field';
is $r->json->{body}, '{"x":1}', 'a JSON body';
ok $r->complete, 'a complete response';

my ($seen) = $t->upstream_requests;
is "$seen->{method} $seen->{uri}", 'POST /a?b=c', 'the request at the upstream';
is $seen->{headers}{authorization}, 'Bearer abc', 'its token';
is $t->upstream_connections, 1, 'one connection to the upstream';

$r = $t->http('GET', '/', headers => [['X-A', '1'], ['X-A', '2']]);
is $r->json->{headers}{'x-a'}, '1, 2', 'a header field sent twice';

$r = $t->http('PUT', '/', body => "4\r\nWiki\r\n0\r\n\r\n",
              headers => { 'Transfer-Encoding' => 'chunked' });
is $r->json->{body}, 'Wiki', 'a chunked request';

$r = $t->http('GET', '/chunked');
is $r->body, 'one, two', 'a chunked response';
ok $r->complete, 'with its end';

$r = $t->http('GET', '/cut');
is $r->body, 'one, ', 'a chunked response that is cut off';
ok !$r->complete, 'is not complete';

$r = $t->http('GET', '/twice');
is_deeply $r->headers->{'set-cookie'}, ['one', 'two'], 'repeated fields';

is $t->http('HEAD', '/')->body, '', 'no body for HEAD';

eval { $t->http('GET', '/reset') };
like $@, qr/no response, but a reset/, 'a reset';

my $bytes = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";
$r = $t->http_raw($bytes);
is $r->json->{uri}, '/a', 'a request given as bytes';

my $connection = $t->http_connect;
for my $uri ('/1', '/2') {
    $connection->request('GET', $uri, keepalive => 1);
    is $connection->response->json->{uri}, $uri, "$uri on one connection";
}

my $before = $t->upstream_requests;
is $t->http_raw("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")->status, 400,
    'a response to a bad request';
is scalar $t->upstream_requests, $before, 'which the upstream never saw';


# nginx

my ($worker) = $t->workers;
$t->reload;
my @workers = $t->workers;
is @workers, 1, 'one worker after a reload';
isnt $workers[0], $worker, 'and it is a new one';

my ($exit, $output) = $t->nginx_test;
is $exit, 0, 'nginx -t' or diag $output;

($exit, $output) = $t->nginx_test($t->conf(module => 0, http => 'nonsense;'));
is $exit, 1, 'nginx -t with a mistake';
like $output, qr/unknown directive "nonsense"/, 'says what is wrong';

$t->write_conf($t->conf(module => 0, workers => 2));
$t->reload;
my @two = $t->workers;
is @two, 2, 'two workers after a reload';

ok $t->stop, 'nginx stops';
ok !eval { $t->http('GET', '/') }, 'and is gone';

$t->run(upgradable => 1);
@two = $t->workers;
$t->upgrade;
my @new = $t->workers;
is @new, 2, 'two workers after an upgrade';
isnt "@new", "@two", 'and they are new ones';
is $t->http('GET', '/')->status, 200, 'that serve';


# Redis

is $t->redis_cmd('SET', 'key', "a\r\nb"), 'OK', 'a status from Redis';
is $t->redis_cmd('GET', 'key'), "a\r\nb", 'a bulk string';
is $t->redis_cmd('GET', 'none'), undef, 'nil';
is_deeply $t->redis_cmd('EVAL', 'return {1, "two", {}, false}', 0),
    [1, 'two', [], undef], 'an array';
ok !eval { $t->redis_cmd('NONSENSE') }, 'an error';
like $@, qr/^Redis: ERR unknown command/, 'with its text';

ok $t->redis_stop, 'Redis stops';
ok !eval { $t->redis_cmd('PING') }, 'and is gone';
$t->redis;
is $t->redis_cmd('DBSIZE'), 0, 'and starts again, empty';

ok $t->grant(id => 'some-id'), 'a grant';
cmp_ok $t->redis_cmd('TTL', 'lockbox:grant:{acme}:some-id'), '>', 290,
    'has a live key';


# Keys and tokens

# RFC 7638 section 3.1
my $n = '0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7'
    . 'aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93'
    . 'lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHz'
    . 'u6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksI'
    . 'NHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw';
is thumbprint({ kty => 'RSA', n => b64url_decode($n), e => "\1\0\1" }),
    'NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs', 'the thumbprint of RFC 7638';

is b64url_encode("\xfb\xff"), '-_8', 'base64url without padding';
is b64url_decode('-_8'), "\xfb\xff", 'and back';

for my $type (qw(RSA1024 RSA2048 RSA3072 P-256 P-384 P-521 secp256k1 Ed25519))
{
    my $key = key($type);
    my ($header, $payload, $signature) = split /\./, token(key => $key);
    my $other = b64url_encode('{}');

    is verify("$header.$payload.$signature", $key), 1, "$type: a signature";
    is verify("$header.$other.$signature", $key), 0, "$type: of other claims";
}

my %sizes = ('P-256' => 64, 'P-384' => 96, 'P-521' => 132);
is length decode(token(key => key($_)))->{signature}, $sizes{$_},
    "$_: length of a signature" for sort keys %sizes;

my $rsa = key('RSA2048');
is verify(sign({ alg => $_ }, {}, $rsa), $rsa), 1, $_ for qw(RS384 RS512);
is verify(sign({ alg => $_ }, {}, 'secret'), 'secret'), 1, $_
    for qw(HS256 HS384 HS512);
is verify(sign({ alg => 'HS256' }, {}, $rsa->{public_pem}), $rsa->{public_pem}),
    1, 'a public key as a secret';
is sign('{"alg":"none","alg":"RS256"}', '{}', undef, alg => 'none'),
    'eyJhbGciOiJub25lIiwiYWxnIjoiUlMyNTYifQ.e30.', 'a header spelt by hand';

my $set = JSON::PP::decode_json(jwks($rsa, jwk(key('P-256'), kid => 'a',
                                              alg => undef)));
is $set->{keys}[0]{kid}, thumbprint($rsa), 'a key set: kid is the thumbprint';
is_deeply [sort keys %{ $set->{keys}[1] }], [qw(crv kid kty use x y)],
    'a JWK with the members asked for';

my $claims = decode($t->identity('customer', claims => { tenant_id => 'b' },
                                 sub => 'cora'))->{payload};
is "$claims->{sub} $claims->{tenant_id} $claims->{roles}[0]",
    'cora b lockbox-approver', 'an identity';
is decode($t->grant(live => 0))->{header}{typ}, 'lockbox-grant+jwt',
    'the type of a grant';


# The alarms: each of these tests must fail, and say why.

my %alarms = (
    'an alert in the log' => [
        qr/\[alert\] made up/, <<'EOF_TEST' ],
        $t->write_file('error.log', "[alert] made up\n");
EOF_TEST
    'a sanitizer report' => [
        qr/AddressSanitizer: made up/, <<'EOF_TEST' ],
        $t->write_file('nginx.out', "ERROR: AddressSanitizer: made up\n");
EOF_TEST
    'a core file' => [
        qr/core\.1/, <<'EOF_TEST' ],
        $t->write_file('core.1', '');
EOF_TEST
    'a worker that crashes' => [
        qr/exited on signal 9/, <<'EOF_TEST' ],
        $t->write_conf($t->conf(module => 0));
        $t->run;
        my ($pid) = $t->workers;
        kill 'KILL', $pid;
        $t->wait_for(sub { $t->read_file('error.log') =~ /signal 9/ });
EOF_TEST
    'nginx that does not start' => [
        qr/\[emerg\] .* "nonsense"/, <<'EOF_TEST' ],
        $t->write_conf('nonsense;');
        eval { $t->run };
EOF_TEST
    'Redis that ends too early' => [
        qr/redis had ended before, by SIGKILL/, <<'EOF_TEST' ],
        my $redis = $t->redis;
        $redis->signal('KILL');
        $t->wait_for(sub { !$redis->running });
EOF_TEST
    'a process that does not stop' => [
        qr/stubborn had to be killed/, <<'EOF_TEST' ],
        $Test::Lockbox::Process::Timeout = 0.1;
        $t->start_process('stubborn', code => sub {
            $SIG{TERM} = 'IGNORE';
            $t->write_file('ready', '');
            sleep 1 while 1;
        });
        $t->wait_for(sub { $t->has_file('ready') }, 20);
EOF_TEST
    'an expected fault that is missing' => [
        qr/signal 11/, <<'EOF_TEST' ],
        $t->expect_log(qr/signal 11/);
EOF_TEST
    'a test that never ends' => [
        qr/not done within 1 s/, <<'EOF_TEST', 1 ],
        while (1) { eval { sleep 1 } }
EOF_TEST
    'a test that dies' => [
        qr/on purpose/, <<'EOF_TEST' ],
        $t->redis;
        die "on purpose";
EOF_TEST
);

for my $name (sort keys %alarms) {
    my ($pattern, $test, $limit) = @{ $alarms{$name} };
    local $ENV{LOCKBOX_LIMIT} = $limit // $ENV{LOCKBOX_LIMIT} // 0;
    my ($status, $output) = run_test($test);

    isnt $status, 0, "$name fails the test";
    like $output, $pattern, 'and is named';
}

my ($status, $log) = run_test(<<'EOF_TEST');
    $t->expect_log(qr/signal 11/);
    $t->write_file('error.log', "[alert] exited on signal 11\n");
EOF_TEST
is $status, 0, 'an expected fault does not fail the test' or diag $log;

done_testing();


sub answer {
    my ($request, $client) = @_;

    return Test::Lockbox::Upstream::echo($request)
        if $request->{uri} !~ m{^/(?:chunked|cut)$};

    print {$client} "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "5\r\none, \r\n", $1 eq 'cut' ? '' : "3\r\ntwo\r\n0\r\n\r\n"
        if $request->{uri} =~ m{^/(.*)};

    return;
}

# Runs a test in a file of its own.
sub run_test {
    my ($body) = @_;

    my $file = $t->write_file('inner.t', <<"EOF_TEST");
        use strict;
        use warnings;
        use Test::Lockbox;
        my \$t = Test::Lockbox->new;
        $body
        pass('something');
        done_testing();
EOF_TEST

    my $output = `$^X @{[ map { "-I$_" } @INC ]} $file 2>&1`;

    return ($?, $output);
}
