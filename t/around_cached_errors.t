#!/usr/bin/perl

# Why: a cache of nginx keeps of some errors no more than their status, and
# answers with that without asking anybody.  Whether there is something, and
# whether the tenant API lives, is nobody's business but the one's who was
# allowed to ask; and what somebody else was told is no answer for him.

use strict;
use warnings;

use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::Refusal;

my $t = Test::Lockbox->new;

# A location of that service, gated or not, with those directives.
sub gated {
    my ($service, @more) = @_;

    return join "\n", "location /tenants/acme/$service/ {", 'lockbox on;',
        'lockbox_tenant acme;', "lockbox_service $service;", @more, "}\n";
}

sub plain {
    my ($service, @more) = @_;

    return join "\n", "location /plain/$service/ {", @more, "}\n";
}

my $upstream = 'proxy_pass http://127.0.0.1:%%PORT_8081%%;';
my $cache = 'proxy_cache shared;';
my $intercept = 'proxy_intercept_errors on; error_page 404 /nf;';
my $missing = "$cache $intercept $upstream";
my $except = "$cache $intercept limit_except POST { $upstream }";
my $if = $missing . 'if ($arg_key) { set $if 1; }';

# Each module that has caches; nobody listens there.
my @modules = qw(proxy fastcgi scgi uwsgi);
my %dead = map { $_ => dead($_) } @modules;
my $zones = join '',
    map { "${_}_cache_path %%TESTDIR%%/kept_$_ keys_zone=$_:1m;\n" } @modules;

sub dead {
    my ($module) = @_;

    my $scheme = $module eq 'proxy' ? 'http://' : '';

    return <<"EOF_DEAD";
    ${module}_cache        $module;
    ${module}_cache_key    \$arg_key;
    ${module}_cache_valid  any 1h;
    ${module}_pass         ${scheme}127.0.0.1:%%PORT_8089%%;
EOF_DEAD
}

$t->redis;
$t->upstream(handler => \&answer);
$t->write_conf($t->conf(http => $zones . <<"EOF_HTTP", locations => join '',
    proxy_cache_path   %%TESTDIR%%/kept keys_zone=shared:1m
                       use_temp_path=off;
    proxy_cache_key    \$arg_key;
    proxy_cache_valid  any 1h;
    add_header         X-Cache \$upstream_cache_status always;
    server {
        listen           127.0.0.1:%%PORT_8090%%;
        lockbox          on;
        lockbox_tenant   acme;
        lockbox_service  server;
        $cache
        $intercept
        location /nf { lockbox off; return 200 nothing; }
        location /tenants/ { $upstream }
        location /plain/ { lockbox off; $upstream }
    }
EOF_HTTP
    (map { my $place = $_;
           $place->('missing', $missing),
           $place->('dying', "$cache $upstream"),
           $place->('variable', 'set $zone shared; proxy_cache $zone;',
                    $intercept, $upstream),
           $place->('if', $if),
           $place->('except', $except),
           map { $place->($_, $dead{$_}) } @modules } \&gated, \&plain),
    gated('nested', "location /tenants/acme/nested/ { $missing }"),
    <<"EOF_LOCATIONS"));
location /plain/nested/ { location /plain/nested/ { $missing } }
location = /nf { return 200 nothing; }
location /first/ { $cache proxy_intercept_errors on;
                   error_page 404 =200 \@second; $upstream }
location \@second { lockbox on; lockbox_tenant acme; lockbox_service second;
                   root %%TESTDIR%%/files; }
EOF_LOCATIONS
mkdir $t->testdir . "/files$_" for '', '/first';
$t->write_file('files/first/x', 'a file');
$t->run;
$Test::Lockbox::Admin::World = $t;

# Without an answer there is none but nginx's own.
sub answer {
    my ($request) = @_;

    return $request->{uri} =~ /dying/ ? undef : [ 404, {}, 'not here' ];
}

my %grant;

# The answer of a gated location of that service.
sub get {
    my ($service, $key, %options) = @_;

    my $token = $grant{$service} //= $t->grant(life => 3600, access => [ {
        service => $service, methods => ['GET'],
        paths => [ "/tenants/acme/$service/", '/first/' ],
    } ]);

    return $t->http('GET', "/tenants/acme/$service/x?key=$key",
                    token => $token, %options);
}

my $before = 0;

# How many requests have arrived since the last call.
sub arrived {
    my $now = $t->upstream_requests;
    my $new = $now - $before;

    $before = $now;

    return $new;
}

for my $case (
    # the service, the status, what arrives of a request, and where else
    [ 'missing', 404, 1 ],
    [ 'dying', 502, 1 ],
    [ 'variable', 404, 1 ],
    [ 'nested', 404, 1 ],
    [ 'if', 404, 1 ],
    [ 'except', 404, 1 ],
    [ 'server', 404, 1, port => 8090 ],
    map { [ $_, 502, 0 ] } @modules,
) {
    my ($service, $status, $arrives, %options) = @$case;

    # without a gate, it is kept
    my $plain = sub {
        my ($key) = @_;

        return $t->http('GET', "/plain/$service/x?key=$key", %options);
    };

    for my $cache ('MISS', 'HIT') {
        my $answer = $plain->("plain-$service");

        is($answer->status, $status, "$service, not gated: $status");
        is($answer->header('x-cache'), $cache, "$service, not gated: $cache");
        is(arrived(), $cache eq 'MISS' ? $arrives : 0,
           "$service, not gated: what arrives");
    }

    # with it, neither that is an answer nor the answer is kept
    for my $key ("plain-$service", ("gated-$service") x 2) {
        my $answer = get($service, $key, %options);

        is($answer->status, $status, "$service, $key: $status");
        is($answer->header('x-cache'), undef, "$service, $key: uncached");
        is(arrived(), $arrives, "$service, $key: arrives");
        recorded([ 'allow' ], "$service, $key: on record");
    }

    is($plain->("gated-$service")->header('x-cache'), 'MISS',
       "$service: nobody finds it");
    arrived();
}


# Who was led to the gate by a cached error may have what is behind it

get('second', 'none');
records();

for my $cache ('once', 'again') {
    my $answer = $t->http('GET', '/first/x?key=first',
                          token => $grant{second});

    let_through($answer, "a gate behind a cached error, $cache");
    is($answer->body, 'a file', 'and what it opens');
    is(arrived(), $cache eq 'once' ? 1 : 0, 'what arrives');
    recorded([ 'allow' ], 'on record');
}

done_testing;
