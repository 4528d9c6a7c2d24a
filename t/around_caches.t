#!/usr/bin/perl

# Why: what one engineer was allowed to see must not stay behind where others
# find it: in no cache of nginx, in no file that it stores.  Whoever configures
# one for a gated location by mistake loses the cache, not the secret.

use strict;
use warnings;

use File::Find ();

use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::Refusal;

my $t = Test::Lockbox->new;

# A gated location of that service, with those directives.
sub gated {
    my ($service, @more) = @_;

    return join "\n", "location /tenants/acme/$service/ {", 'lockbox on;',
        'lockbox_tenant acme;', "lockbox_service $service;", @more, "}\n";
}

my $upstream = 'proxy_pass http://$api;';
my $shared = "proxy_cache shared; $upstream";
my $sliced = "slice 1k; proxy_set_header Range \$slice_range; $shared";
my $store = 'proxy_store %%TESTDIR%%/kept/$arg_key;';

$t->redis;
$t->upstream(handler => \&answer);
$t->write_conf($t->conf(http => <<'EOF_HTTP', locations => join '',
    map '' $api { default 127.0.0.1:%%PORT_8081%%; }
    proxy_cache_path      %%TESTDIR%%/kept keys_zone=shared:1m
                          use_temp_path=off;
    proxy_cache_key       $arg_key$slice_range;
    proxy_cache_valid     any 1h;
    proxy_cache_valid     200 206 1h;
    proxy_ignore_headers  Cache-Control Expires Set-Cookie Vary;
    add_header            X-Cache $upstream_cache_status;
EOF_HTTP
    gated('cached', $shared),
    gated('bypassing', 'proxy_cache_bypass 1;', $shared),
    gated('posting', 'proxy_cache_methods GET POST;', $shared),
    gated('sliced', $sliced),
    gated('updating', 'proxy_cache_use_stale updating;',
          'proxy_cache_background_update on;', $shared),
    gated('failing', 'proxy_cache_use_stale http_500;', $shared),
    gated('revalidating', 'proxy_cache_revalidate on;', $shared),
    gated('storing', $store, $upstream),
    gated('uncached', $upstream),
    gated('expiring', 'expires 1h;', 'add_header Cache-Control public;',
          'proxy_pass_header X-Accel-Expires;', $upstream),
    <<"EOF_LOCATIONS"));
location /plain/ { $shared }
location /plain/sliced/ { $sliced }
location /plain/storing/ { $store $upstream }
location /front/ {
    proxy_ignore_headers  Expires;
    proxy_hide_header     X-Cache;
    proxy_cache           shared;
    proxy_pass            http://127.0.0.1:%%PORT_8080%%/;
}
location /kept/ { root %%TESTDIR%%; }
location /lockbox/ { lockbox_admin on; }
EOF_LOCATIONS
$t->run;
$Test::Lockbox::Admin::World = $t;

sub answer {
    my ($request) = @_;

    my ($uri, $asked) = @$request{qw(uri headers)};
    my $body = "the secret of $uri " x 100;
    my %headers = (
        'Cache-Control' => 'public, max-age=3600', ETag => '"a"',
        # a time long past: what a cache keeps is old at once
        $uri =~ /old/ ? ('X-Accel-Expires' => '@1') : (),
        $uri =~ /expiring/ ? (
            'X-Accel-Expires' => 3600, 'Lockbox-Expires' => 'never',
            map { $_ => 'max-age=3600' } qw(CDN-Cache-Control
                                            Surrogate-Control),
        ) : (),
    );

    return [ 500, \%headers, $body ] if $uri =~ m{/failing/.*old};
    return [ 304, \%headers, '' ] if $asked->{'if-none-match'};

    my ($from, $to) = ($asked->{range} // '') =~ /=(\d+)-(\d+)/
        or return [ 200, \%headers, $body ];

    my $part = substr $body, $from, $to - $from + 1;
    my $last = $from + length($part) - 1;
    $headers{'Content-Range'} = "bytes $from-$last/" . length $body;

    return [ 206, \%headers, $part ];
}

my %grant;

# A grant for the whole of that service.
sub grant {
    my ($service) = @_;

    return $grant{$service} //= $t->grant(life => 3600, access => [ {
        service => $service, methods => [ 'GET', 'POST' ],
        paths => [ "/tenants/acme/$service/" ],
    } ]);
}

sub get {
    my ($service, $key, %options) = @_;

    return $t->http($options{method} // 'GET',
                    "/tenants/acme/$service/x?key=$key",
                    token => grant($service), %options);
}

# The bytes of all files that nginx keeps; nothing to show on a terminal.
sub kept {
    my @files;

    File::Find::find(sub { push @files, $File::Find::name if -f },
                     $t->testdir . '/kept');

    return join '', map { $t->read_file(s{^\Q@{[ $t->testdir ]}\E/}{}r) }
                    @files;
}

my $seen = 0;

# The paths that have arrived since the last call.
sub arrived {
    my @requests = $t->upstream_requests;
    my @new = @requests[ $seen .. $#requests ];

    $seen = @requests;

    return [ map { $_->{uri} =~ s/\?.*//r } @new ];
}


# Nothing is kept

for my $case (
    [ 'a cache', 'cached' ],
    [ 'a cache, for POST', 'posting', method => 'POST', body => 'a' ],
    [ 'a cache, for HEAD', 'cached', method => 'HEAD' ],
    [ 'a cache that is bypassed', 'bypassing' ],
    [ 'a cache of slices', 'sliced' ],
    [ 'a store', 'storing' ],
) {
    my ($name, $service, %options) = @$case;

    for my $try (qw(once again)) {
        let_through(get($service, $service, %options), "$name, $try");
        recorded([ 'allow' ], "$name, $try: on record");
        is(arrived()->[0], "/tenants/acme/$service/x", "$name, $try: arrives");
    }

    ok(kept() eq '', "$name: nothing is kept");
}

is($t->http('GET', '/kept/storing')->status, 404, 'there is nothing to find');

let_through($t->http('GET', '/plain/storing/x?key=twin'), 'a store elsewhere');
like($t->http('GET', '/kept/twin')->body, qr{the secret of /plain/storing/x},
     'keeps its answers');


# Nothing comes out

for my $case (
    [ 'a cache', 'cached', 'x' ],
    [ 'a cache of slices', 'sliced', 'sliced/x' ],
    [ 'a cache of old answers', 'updating', 'old', old => 1 ],
    [ 'a cache for what fails', 'failing', 'old', old => 1, status => 500 ],
    [ 'a cache that asks again', 'revalidating', 'old', old => 1 ],
) {
    my ($name, $service, $path, %is) = @$case;

    my $key = "from-$service";
    my $uri = "/plain/$path?key=$key";
    my $gated = "/tenants/acme/$service/$path";

    arrived();
    let_through($t->http('GET', $uri), "$name: it is filled elsewhere");
    cmp_ok(scalar @{ arrived() }, '>', 0, "$name: from the tenant API");
    ok(kept() =~ /KEY: \Q$key\E/, "$name: and keeps it");
    is($t->http('GET', $uri)->header('x-cache'), $is{old} ? 'EXPIRED' : 'HIT',
       "$name: it answers there");

    arrived();
    refused($t->http('GET', "$gated?key=$key"), 'no_token',
            "$name: and nobody");
    recorded([ 'no_token' ], "$name: on record");
    is_deeply(arrived(), [], "$name: nothing arrives");

    my $answer = $t->http('GET', "$gated?key=$key", token => grant($service));

    is($answer->status, $is{status} // 200, "$name: an engineer");
    is($answer->header('x-cache'), undef, "$name: from no cache");
    like($answer->body, qr/^the secret of \Q$gated\E/, "$name: of his own");
    recorded([ 'allow' ], "$name: on record");
    is_deeply([ grep { $_ ne $gated } @{ arrived() } ], [],
              "$name: nothing else arrives");
    ok(kept() !~ m{the secret of /tenants/}, "$name: nothing new is kept");
}


# A cache before the gate

for my $case (
    # what is behind it, the service of the grant, and the second answer
    [ 'a gated location', 'tenants/acme/uncached', 'uncached', 'MISS' ],
    [ 'one that says otherwise', 'tenants/acme/expiring', 'expiring', 'MISS' ],
    [ 'another one', 'plain', 'uncached', 'HIT' ],
) {
    my ($name, $path, $service, $again) = @$case;
    my $uri = "/front/$path/x?key=$path";

    for my $status ('MISS', $again) {
        my $response = $t->http('GET', $uri, token => grant($service));

        let_through($response, "a proxy before $name");
        is($response->header('x-cache'), $status, "is a $status");
    }
}

is($t->http('GET', '/front/tenants/acme/uncached/x?key=none')->status, 401,
   'nobody is answered by it');

my $expiring = get('expiring', 'none');

like($expiring->header('cache-control'), qr/no-store/,
     'what the configuration adds takes nothing away');
is_deeply([ map { $expiring->header($_) } qw(CDN-Cache-Control
              Surrogate-Control X-Accel-Expires) ], [ (undef) x 3 ],
          'what speaks to caches alone is not for them');
like($expiring->header('lockbox-expires'), qr/^[-\d]+T[:.\d]+Z\z/,
     'the end of the grant is not for the tenant API to say');

done_testing;
