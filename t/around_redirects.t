#!/usr/bin/perl

# Why: nginx moves requests about by itself.  One that comes to a gated place
# is judged there, wherever it comes from; one that was refused goes nowhere;
# and what was allowed is for nobody else, wherever it ends, and on record with
# an outcome of its own.

use strict;
use warnings;

use File::Basename qw(basename);
use File::Path qw(make_path);

use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::Http2;
use Test::Lockbox::Refusal;

my $t = Test::Lockbox->new;

# A gated location of that service, with those directives.
sub gated {
    my ($service, @more) = @_;

    return join "\n", "location /tenants/acme/$service/ {", 'lockbox on;',
        'lockbox_tenant acme;', "lockbox_service $service;", @more, "}\n";
}

my $upstream = 'proxy_pass http://127.0.0.1:%%PORT_8081%%;';
my $root = 'root %%TESTDIR%%/files;';
my $intercept = 'proxy_intercept_errors on;';

$t->redis;
$t->upstream(handler => \&answer);
make_path($t->testdir . "/files/$_") for qw(free before stored tenants/acme/index);
$t->write_file("files/$_/x", 'free for all')
    for qw(free before stored);
$t->write_conf($t->conf(http => <<"EOF_HTTP", locations => join '',
    server {
        listen           127.0.0.1:%%PORT_8090%%;
        lockbox          on;
        lockbox_tenant   acme;
        lockbox_service  mail;
        if (\$arg_said)  { return 200 "a secret"; }
        if (\$arg_moved) { rewrite ^ /free/x permanent; }
        if (\$arg_free)  { rewrite ^ /free/x; }
        location /tenants/acme/mail/ { $upstream }
        location /free/  { lockbox off; $root }
    }
    server {
        listen      127.0.0.1:%%PORT_8091%%;
        listen      127.0.0.1:%%PORT_8443%% http2;
        error_page  400 = \$arg_page;
        location /tenants/acme/mail/ {
            lockbox          on;
            lockbox_tenant   acme;
            lockbox_service  mail;
            $upstream
        }
        location /lockbox/ { lockbox_admin on; }
    }
EOF_HTTP
    gated('mail', $upstream),
    gated('paged', 'error_page 401 403 503 =200 /free/x;', $upstream),
    gated('named', 'error_page 401 403 503 = @free;', $upstream),
    gated('caught', 'error_page 404 =200 /free/x;', $intercept, $upstream),
    gated('passed', 'error_page 404 = @free;', $intercept, $upstream),
    gated('accel', $upstream),
    gated('onward', 'error_page 404 /tenants/globex/mail/x;', $intercept,
          $upstream),
    gated('along', 'error_page 404 =200 /tenants/acme/mail/x;', $intercept,
          $upstream),
    gated('keyed', 'lockbox_token $http_x_grant;', $upstream),
    gated('tried', "try_files /none/\$uri \@free; $root"),
    gated('indexed', 'index none /free/x;', $root),
    gated('index', 'index none /free/x;', $root),
    gated('inside', 'internal;', $upstream),
    gated('any', 'satisfy any;', 'auth_request /yes;', $upstream),
    gated('both', 'auth_request /no;', $upstream),
    gated('broken', 'rewrite /else$ /tenants/globex/broken/x break;',
          'rewrite /same$ /tenants/acme/broken/x break;', $upstream),
    gated('last', 'rewrite ^ /free/x last;'),
    gated('led', 'rewrite ^/tenants/acme(.*) $1 last;'),
    gated('stored', 'rewrite ^/tenants/acme(.*) $1 last;'),
    gated('on', 'rewrite ^ /tenants/acme/mail/x last;'),
    map({ my ($name, $code) = @$_; gated($name, "return $code;", $upstream) }
        [ url => 'http://localhost/free' ], [ no => 204 ],
        [ see => '303 /free' ], [ kept => '308 /free' ]),
    map({ gated($_, "rewrite ^ /free/x $_;", $upstream) }
        qw(redirect permanent)),
    <<"EOF_LOCATIONS"));
location = /tenants/acme/closed { lockbox on; lockbox_tenant acme;
                                  lockbox_service closed; return 444; }
location \@gated {
    lockbox          on;
    lockbox_tenant   acme;
    lockbox_service  mail;
    proxy_set_header X-Named yes;
    $upstream
}
location /tenants/globex/mail/ {
    lockbox          on;
    lockbox_tenant   globex;
    lockbox_service  mail;
    $upstream
}
location /from/accel/ { $upstream }
location /from/tried/ { try_files /none \@gated; }
location /from/missing/ { error_page 404 =200 \@gated; return 404; }
location /from/page/ { error_page 404 =200 /tenants/acme/mail/x; return 404; }
location /from/caught/ {
    error_page 404 =200 /tenants/acme/mail/x;
    $intercept
    $upstream
}
location /from/inside/ { error_page 404 = /tenants/acme/inside/x; return 404; }
location /before/ { post_action /tenants/acme/mail/x; $root }
location = /yes { return 204; }
location = /no { return 403; }
location /free/ { $root }
location /led/ { if (\$uri ~ go) { set \$gone yes; } $upstream }
location /stored/ { $root dav_methods PUT DELETE; }
location \@free { return 200 "free for all"; }
location /lockbox/ { lockbox_admin on; }
location /small/ { lockbox_admin on; client_max_body_size 1; }
location /calls/elsewhere/ { lockbox_admin on; rewrite ^ \$arg_path? break; }
EOF_LOCATIONS
$t->run;
$Test::Lockbox::Admin::World = $t;

sub answer {
    my ($request) = @_;

    my $uri = $request->{uri};

    return [ 200, {}, 'the secret' ] if $request->{headers}{'x-named'};
    return [ 404, {}, 'nothing here' ]
        if $uri =~ /caught|passed|onward|along/;
    return [ 200, { 'X-Accel-Redirect' => $1 }, '' ] if $uri =~ /\?(.*)/;
    return [ 200, {}, "the secret of $uri" ];
}

my %grant;

# A grant for the whole of that service.
sub grant {
    my ($service) = @_;

    return $grant{$service} //= $t->grant(life => 3600, access => [ {
        service => $service, methods => [ 'GET' ],
        paths => [ "/tenants/acme/$service/", '/from/', '/free/' ],
    } ]);
}

sub get {
    my ($uri, $token, %options) = @_;

    return $t->http('GET', $uri, token => $token, %options);
}

# Records as "start path", "end path reason status".
sub paths_recorded {
    return [ map {
        my $record = $_;
        join ' ', grep { defined }
                  @$record{qw(event.type url.path event.reason
                              http.response.status_code)};
    } records() ];
}

my @HELP = qw(asked granted request);


# From a gated place to one that is not

for my $case (
    [ 'a page for refusals', 'paged/x', 1, qr{^the secret of} ],
    [ 'a named page for refusals', 'named/x', 1, qr{^the secret of} ],
    [ 'a page for errors', 'caught/x', 1 ],
    [ 'a named page for errors', 'passed/x', 1 ],
    [ 'X-Accel-Redirect', 'accel/?/free/x', 1 ],
    [ 'X-Accel-Redirect to a name', 'accel/?@free', 1 ],
    [ 'P40 try_files', 'tried/x', 0 ],
    [ 'index', 'index/', 0 ],
) {
    my ($name, $path, $arrives, $content) = @$case;

    my $uri = "/tenants/acme/$path";
    my ($service) = $path =~ /^(\w+)/;
    my $before = $t->upstream_connections;

    refused(get($uri), 'no_token', $name);
    refused(get($uri, grant('other')), 'wrong_service', $name, @HELP);
    recorded([ qw(no_token wrong_service) ], "$name: on record");
    is($t->upstream_connections, $before, "$name: nobody is asked");

    my $allowed = get($uri, grant($service));

    let_through($allowed, "$name: allowed");
    like($allowed->body, $content // qr/^free for all\z/, "$name: answer");
    is($allowed->header('cache-control'), 'no-store',
       "$name: is for nobody else");
    like($allowed->header('lockbox-expires') // '', qr/Z\z/,
         "$name: says until when");
    recorded([ 'allow' ], "$name: with its grant, on record");
    is($t->upstream_connections, $before + $arrives, "$name: is asked");
}

is(get('/free/x')->header('cache-control'), undef,
   'what was free all along is for everybody');


# From one that is not to a gated place

for my $case (
    # the way, where the request is judged, whether something comes before
    [ 'X-Accel-Redirect to a name', '/from/accel/?@gated', '/from/accel/', 1 ],
    [ 'try_files to a name', '/from/tried/', '/from/tried/' ],
    [ 'error_page to a name', '/from/missing/', '/from/missing/' ],
    [ 'error_page with a status', '/from/page/', '/tenants/acme/mail/x' ],
    [ 'error_page for an answer', '/from/caught/', '/tenants/acme/mail/x',
      1 ],
    [ 'a rewrite', '/tenants/acme/on/x', '/tenants/acme/mail/x' ],
    [ 'error_page to what is internal', '/from/inside/',
      '/tenants/acme/inside/x', 0, 'inside' ],
) {
    my ($name, $uri, $judged, $before, $service) = @$case;
    my $seen = $t->upstream_requests;

    $before //= 0;
    refused(get($uri), 'no_token', $name);
    is_deeply(paths_recorded(), [ "end $judged no_token 401" ],
              "$name: on record");
    refused(get($uri, grant('other')), 'wrong_service', $name, @HELP);
    is_deeply(paths_recorded(), [ "end $judged wrong_service 403" ],
              "$name: on record");
    is(scalar $t->upstream_requests, $seen + 2 * $before,
       "$name: nothing arrives");

    let_through(get($uri, grant($service // 'mail')), "$name: allowed");
    is_deeply(paths_recorded(),
              [ "start $judged", "end $judged allow 200" ],
              "$name: allowed, on record");
    is(scalar $t->upstream_requests, $seen + 3 * $before + 1,
       "$name: arrives");
}

for my $token (undef, grant('inside')) {
    is(get('/tenants/acme/inside/x', $token)->status, 404,
       'what is internal is not there');
    is_deeply(paths_recorded(),
              [ 'end /tenants/acme/inside/x not_decided 404' ], 'on record');
}


# nginx itself refuses two fields of that name; but its page for that may be
# gated, or the admin API, and both fields come along

for my $case (
    [ 'the gate', '/tenants/acme/mail/x', grant('mail') ],
    [ 'the admin API', '/lockbox/v1/whoami', token_of('engineer') ],
) {
    my ($place, $page, $token) = @$case;
    my @token = ([ authorization => "Bearer $token" ]);

    for my $http (1, 2) {
        my $ask = sub {
            my (@headers) = @_;
            my @request = ('GET', "/?page=$page", headers => \@headers);

            return $http == 1 ? $t->http(@request, port => 8091)
                 : Test::Lockbox::Http2->new($t->port(8443))->ask(@request);
        };
        my $name = "a page for two fields, HTTP/$http, $place";
        my $seen = $t->upstream_requests;

        for my $other ("Bearer $token", 'Basic YTpi', '') {
            my @both = (@token, [ authorization => $other ]);

            refused($ask->(@both), 'two_tokens', $name);
            refused($ask->(reverse @both), 'two_tokens', $name);
            is_deeply(paths_recorded(),
                      [ ("end $page two_tokens 400") x 2 ],
                      "$name: on record");
        }

        is(scalar $t->upstream_requests, $seen, "$name: nothing arrives");

        # two fields of another name that may be there once
        let_through($ask->(@token, map { [ 'if-modified-since' => $_ ] } 1, 2),
                    "$name: one of them is a token's");
        is_deeply(paths_recorded(),
                  $page =~ /lockbox/ ? []
                      : [ "start $page", "end $page allow 200" ],
                  "$name: allowed, on record");
    }
}


# From one gated place to another these are two accesses.  The first one is as
# it was asked for, and its tenant reads how it ended; nginx goes on with GET.

my $both = $t->grant(access => [ map { {
    service => $_, methods => [ qw(GET DELETE POST) ], paths => [ '/' ],
} } qw(mail accel onward along keyed) ]);

# Records as "start tenant method path", "end tenant method path reason status",
# by what they are about, which is each time one thing with one id.
sub accesses_recorded {
    my (%accesses, @ids);

    for my $record (records()) {
        my $id = $record->{'event.id'};

        push @ids, $id unless $accesses{$id};
        push @{ $accesses{$id} }, join ' ', grep { defined }
            @$record{qw(event.type organization.id http.request.method url.path
                        event.reason http.response.status_code)};
    }

    return [ map { $accesses{$_} } @ids ];
}

# An access that was let through and got that status.
sub begun_and_ended {
    my ($what, $status) = @_;

    return [ "start $what", "end $what allow $status" ];
}

for my $case (
    # the way, what is asked for, where it leads, and where else before that
    [ 'X-Accel-Redirect', 'accel/?/tenants/globex/mail/x', 'globex' ],
    [ 'X-Accel-Redirect', 'accel/?/tenants/acme/mail/x', 'acme' ],
    [ 'two of them', 'accel/?/tenants/acme/accel/?/tenants/globex/mail/x',
      'globex', 'acme GET /tenants/acme/accel/' ],
    [ 'two of them', 'accel/?/tenants/acme/accel/?/tenants/acme/mail/x',
      'acme', 'acme GET /tenants/acme/accel/' ],
    [ 'error_page', 'onward/x', 'globex' ],
    [ 'error_page', 'along/x', 'acme' ],
) {
    my ($way, $path, $tenant, @between) = @$case;

    my $answer = $t->http('DELETE', "/tenants/acme/$path", token => $both);
    my $name = "$way within the grant";
    my $status = 200;
    my $last = "$tenant GET /tenants/$tenant/mail/x";
    my $end = begun_and_ended($last, 200);

    if ($tenant eq 'acme') {
        let_through($answer, $name);
    } else {
        $name = "$way to another tenant";
        $status = 403;
        $end = [ "end $last wrong_tenant 403" ];
        refused($answer, 'wrong_tenant', $name, @HELP);
    }

    is_deeply(accesses_recorded(),
              [ map({ begun_and_ended($_, $status) }
                    'acme DELETE /tenants/acme/' . $path =~ s/\?.*//r,
                    @between), $end ],
              "$name: each on record");
}

# Nor does the admin API take an access for a call, or for its silence

for my $case (
    [ 'a call', '/lockbox/v1/whoami', token_of('engineer') ],
    [ 'a call that is refused', '/lockbox/v1/whoami', $both, 'wrong_type' ],
) {
    my ($name, $call, $token, $word) = @$case;

    my $answer = $t->http('POST', "/tenants/acme/keyed/?$call",
                          token => $token, body => 'xx',
                          headers => { 'X-Grant' => $both });
    my $status = $answer->status;

    is(outcome($answer), $status . ' ' . ($word // 'ok'), $name);
    is_deeply(accesses_recorded(),
              [ begun_and_ended('acme POST /tenants/acme/keyed/', $status),
                $word ? [ "end GET $call $word $status" ] : () ],
              "$name: and the access before, on record");
}

my $refused = $t->http_connect;

$refused->request('POST', '/tenants/acme/keyed/?/small/v1/whoami', body => 'xx',
                  token => token_of('engineer'),
                  headers => { 'X-Grant' => $both, Connection => 'close' });
like($refused->read_all, qr/"code": ?"too_large"/, 'a call that nginx refuses');
undef $refused;   # nginx lingers, and records the end when it is done
is_deeply(accesses_recorded(),
          [ begun_and_ended('acme POST /tenants/acme/keyed/', 413),
            [ 'end GET /small/v1/whoami too_large 413' ] ],
          'a call that nginx refuses: and the access before, on record');


# What others allow or deny

refused(get('/tenants/acme/any/x'), 'no_token', 'what auth_request allows');
recorded([ 'no_token' ], 'on record');
let_through(get('/tenants/acme/any/x', grant('any')), 'with its grant');
recorded([ 'allow' ], 'on record');
refused(get('/tenants/acme/both/x'), 'no_token', 'what auth_request denies');
recorded([ 'no_token' ], 'on record');
is(get('/tenants/acme/both/x', grant('both'))->status, 403,
   'what auth_request denies, with its grant');
is_deeply(paths_recorded(), [ 'start /tenants/acme/both/x',
                              'end /tenants/acme/both/x allow 403' ],
          'on record');


# Rewritten, it is judged as what it has become

my $seen = $t->upstream_requests;

refused(get('/tenants/acme/broken/else', grant('broken')), 'wrong_path',
        'rewritten to another tenant', @HELP);
is_deeply(paths_recorded(), [ 'end /tenants/globex/broken/x wrong_path 403' ],
          'on record as that');
is(scalar $t->upstream_requests, $seen, 'nothing arrives');
is(get('/tenants/acme/broken/same', grant('broken'))->body,
   'the secret of /tenants/acme/broken/x', 'rewritten within the grant');
recorded([ 'allow' ], 'on record');

refused(get('/tenants/acme/last/x', grant('last')), 'internal_error',
        'rewritten to what is free');
is_deeply(paths_recorded(), [ 'end /tenants/acme/last/x internal_error 503' ],
          'on record, as never looked at');

# What would go on without having been judged ends before anything happens,
# in an "if", too, and if nobody is asked

for my $case ([ 'GET', 'led/x' ], [ 'DELETE', 'led/x' ], [ 'GET', 'led/go' ],
              [ 'DELETE', 'led/go' ], [ 'DELETE', 'stored/x' ],
              [ 'PUT', 'stored/y' ]) {
    my ($method, $name) = @$case;
    my @body = $method eq 'PUT' ? (body => 'new') : ();
    my $before = $t->upstream_requests;

    refused($t->http($method, "/tenants/acme/$name", token => grant('led'),
                     @body),
            'internal_error', "$method $name, led on");
    is_deeply(paths_recorded(),
              [ "end /tenants/acme/$name internal_error 503" ],
              'on record, as never looked at');
    is(scalar $t->upstream_requests, $before, 'nothing arrives');
    is(join(' ', sort map { basename($_) } glob $t->testdir . '/files/stored/*'),
       'x', 'nothing has changed');

    like($t->http($method, "/$name", @body)->status, qr/^20[014]\z/,
         'which it does where it is asked for');
    $t->write_file('files/stored/x', 'free for all');
    unlink $t->testdir . '/files/stored/y';
    recorded([], 'and is on no record');
}

# nginx leaves it to the admin API to see that it is shorter than its place

for my $path ('/', '/v1/whoami', '/calls/elsewhere') {
    my $answer = get("/calls/elsewhere/?path=$path", token_of('engineer'));

    is(outcome($answer), '404 not_found', "a call rewritten to $path");
    is_deeply(paths_recorded(), [ "end $path not_found 404" ], 'on record');
}

is(get('/calls/elsewhere/v1/whoami?path=/calls/elsewhere/v1/whoami',
       token_of('engineer'))->json->{sub}, 'erin',
   'a call rewritten to itself');
recorded([], 'not on record, for it only reads');


# What answers before it can be judged

for my $service (qw(url no see kept redirect permanent)) {
    for my $token (undef, grant($service)) {
        my $answer = get("/tenants/acme/$service/x", $token);

        refused($answer, 'internal_error', "P38 $service");
        is($answer->header('location'), undef, "$service: leads nowhere");
        recorded([ 'internal_error' ], "$service: on record");
    }
}

my $connection = $t->http_connect;
$connection->request('GET', '/tenants/acme/closed');
is($connection->read_all, '', 'a connection closed at once');
recorded([ 'not_decided' ], 'is on record');


# A whole server that is gated

my @server = (port => 8090);

for my $case ([ 'said', 'a secret' ], [ 'moved', 'free' ]) {
    my ($name, $hint) = @$case;
    my $uri = "/tenants/acme/mail/x?$name=1";

    for my $token (undef, grant('mail')) {
        my $answer = get($uri, $token, @server);

        refused($answer, 'internal_error', "P38 $name by the server");
        unlike($answer->head . $answer->body, qr/$hint/, "$name: no hint");
        recorded([ 'internal_error' ], "$name: on record");
    }
}

refused(get('/tenants/acme/mail/x', undef, @server), 'no_token', 'its gate');
let_through(get('/tenants/acme/mail/x', grant('mail'), @server), 'passed');
refused(get('/elsewhere', undef, @server), 'no_token', 'what is not there');
is(get('/tenants/acme/none', grant('mail'), @server)->status, 403,
   'nor is it with a grant for something else');
recorded([ qw(no_token allow no_token wrong_path) ], 'on record');
let_through(get($_, undef, @server), "$_, where the gate is off")
    for qw(/free/x /tenants/acme/mail/x?free=1);
recorded([], 'not on record');


# After the answer

$seen = $t->upstream_requests;

for my $case ([ 'no_token', undef, 'end /tenants/acme/mail/x no_token 401' ],
              [ 'wrong_service', grant('other'),
                'end /tenants/acme/mail/x wrong_service 403' ],
              [ 'allow', grant('mail'), 'start /tenants/acme/mail/x',
                'end /tenants/acme/mail/x allow 200' ])
{
    my ($name, $token, @wanted) = @$case;

    # nginx closes once that is over
    $connection = $t->http_connect;
    $connection->request('GET', '/before/x', token => $token);

    like($connection->read_all, qr/\r\n\r\nfree for all\z/,
         "post_action, $name: the answer before it, and nothing else");
    is_deeply(paths_recorded(), \@wanted, "post_action, $name: on record");
    is(scalar $t->upstream_requests, $seen + ($name eq 'allow'),
       "post_action, $name: what arrives");
}

done_testing;
