#!/usr/bin/perl

# Why: what nginx asks of itself, on behalf of a client, must not get what the
# client would not.  Each way into a gated location is tried without a grant,
# with one for something else, and with the right one.

use strict;
use warnings;

use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::Refusal;

my $t = Test::Lockbox->new;
my $upstream = 'proxy_pass http://127.0.0.1:%%PORT_8081%%;';

$t->redis;
$t->upstream(handler => \&answer);
$t->write_conf($t->conf(locations => <<"EOF_LOCATIONS"));
location ~ ^/tenants/(?<tenant>[^/]+)/(?<service>[^/]+)/ {
    lockbox          on;
    lockbox_tenant   \$tenant;
    lockbox_service  \$service;
    slice            1k;
    proxy_set_header Range \$slice_range;
    proxy_set_header X-Tenant \$tenant;
    ssi              on;
    $upstream
}
location /included/ { ssi on; $upstream }
location /checked/ { auth_request /tenants/acme/mail/x; $upstream }
location /added/ { add_after_body /tenants/acme/mail/x; $upstream }
location /mirrored/ { mirror /tenants/acme/mail/x; $upstream }
location /accel/ { $upstream }
location /tried/ { try_files /none /tenants/acme/mail/x; }
location /rewritten/ { rewrite ^ /tenants/acme/mail/x last; }
location /failed/ { error_page 404 = /tenants/acme/mail/x; return 404; }
location /replaced/ { error_page 404 /tenants/acme/mail/x; return 404; }
location /indexed/ {
    root %%TESTDIR%%;
    index none /tenants/acme/mail/x;
}
location ^~ /tenants/acme/lost/ {
    lockbox          on;
    lockbox_tenant   acme;
    lockbox_service  lost;
    error_page       401 = /tenants/acme/said/;
    $upstream
}
location = /tenants/acme/said/ {
    lockbox          on;
    lockbox_tenant   acme;
    lockbox_service  said;
    return           200 "the secret";
}
location /lockbox/ { lockbox_admin on; }
EOF_LOCATIONS
mkdir $t->testdir . '/indexed';
$t->run;
$Test::Lockbox::Admin::World = $t;

sub answer {
    my ($request) = @_;

    my $uri = $request->{uri};
    my %headers = ('Content-Type' => 'text/html');

    return [ 200, { %headers, 'X-Accel-Redirect' => $1 }, '' ]
        if $uri =~ m{/accel/\?(.*)};
    return [ 200, \%headers, join '', map { qq(<!--# include virtual="$_" -->) }
                                           split /,/, $1 ]
        if $uri =~ m{/included/\?(.*)};

    my $body = $uri =~ /long/ ? 'long ' x 1000 : "the secret of $uri";
    my ($from, $to) = ($request->{headers}{range} // '') =~ /=(\d+)-(\d+)/
        or return [ 200, \%headers, $body ];

    my $part = substr $body, $from, $to - $from + 1;
    my $last = $from + length($part) - 1;
    $headers{'Content-Range'} = "bytes $from-$last/" . length $body;
    $headers{ETag} = '"a"';

    return [ 206, \%headers, $part ];
}

# The URIs below /tenants/ that the tenant API has seen since the last call.
my $seen = 0;

sub arrived {
    my @requests = $t->upstream_requests;
    my @new = @requests[ $seen .. $#requests ];

    $seen = @requests;

    return [ grep { m{^/tenants/} } map { $_->{uri} } @new ];
}

sub get {
    my ($uri, $token) = @_;

    return $t->http('GET', $uri, defined $token ? (token => $token) : ());
}

# Records as "start path", "end path reason"; at least as many as told, for a
# subrequest may outlast the answer.
sub paths_recorded {
    my ($least) = @_;

    my @records;

    $t->wait_for(sub {
        push @records, records();
        return @records >= $least;
    }, undef, "$least records");

    return [ map {
        my $record = $_;
        join ' ', grep { defined } @$record{qw(event.type url.path
                                               event.reason)};
    } @records ];
}

my $secret = '/tenants/acme/mail/x';
my $grant = $t->grant;
my $other = $t->grant(access => [ {
    service => 'mail', methods => [ 'GET' ], paths => [ '/tenants/acme/y/' ],
} ]);


# Ways in; the status of a refusal is the client's if the way hands it on

for my $case (
    [ 'an included page', "/included/?$secret" ],
    [ 'auth_request', '/checked/', 'refuses' ],
    [ 'add_after_body', '/added/' ],
    [ 'mirror', '/mirrored/' ],
    [ 'X-Accel-Redirect', "/accel/?$secret", 'refuses' ],
    [ 'try_files', '/tried/', 'refuses' ],
    [ 'rewrite', '/rewritten/', 'refuses' ],
    [ 'error_page', '/failed/', 'refuses' ],
    [ 'error_page with its status', '/replaced/', 'refuses', 404 ],
    [ 'index', '/indexed/', 'refuses' ],
) {
    my ($name, $uri, $refuses, $status) = @$case;

    for my $try ([ 'no_token', undef, 401 ], [ 'wrong_path', $other, 403 ]) {
        my ($word, $token, $refusal) = @$try;
        my $response = get($uri, $token);

        is($response->status, $refuses ? $refusal : 200,
           "$name, $word: status");
        unlike($response->body, qr/secret of $secret/, "$name, $word: body");
        is_deeply(paths_recorded(1), [ "end $secret $word" ],
                  "$name, $word: on record");
        is_deeply(arrived(), [], "$name, $word: nothing arrives");
    }

    is(get($uri, $grant)->status, $status // 200, "$name: allowed");
    is_deeply(paths_recorded(2), [ "start $secret", "end $secret allow" ],
              "$name: on record");
    is_deeply(arrived(), [ $secret ], "$name: arrives");
}


# From one gated place to another, each is judged by itself

my $pages = $t->grant(access => [ {
    service => 'pages', methods => [ 'GET' ],
    paths => [ '/tenants/acme/pages/' ],
} ]);
my $here = '/tenants/acme/pages/accel/';

refused(get("$here?/tenants/acme/mail/x", $pages), 'wrong_service',
        'a redirect to another service', qw(asked granted request));
is_deeply(paths_recorded(3),
          [ "start $here", "end $here allow",
            'end /tenants/acme/mail/x wrong_service' ],
          'a redirect to another service: on record');
is_deeply(arrived(), [ "$here?/tenants/acme/mail/x" ],
          'only the first one arrives');

is(get("$here?/tenants/acme/pages/y", $pages)->status, 200,
   'a redirect within the grant');
is_deeply(paths_recorded(4),
          [ "start $here", 'start /tenants/acme/pages/y',
            "end $here allow", 'end /tenants/acme/pages/y allow' ],
          'a redirect within the grant: on record');
arrived();

my $page = '/tenants/acme/pages/included/';
my $response = get("$page?/tenants/globex/pages/x", $pages);

is($response->status, 200, 'a page that includes another tenant');
unlike($response->body, qr/secret/, 'without it');
is_deeply(paths_recorded(3),
          [ "start $page", "end $page allow",
            'end /tenants/globex/pages/x wrong_tenant' ],
          'both are on record');
is_deeply(arrived(), [ "$page?/tenants/globex/pages/x" ], 'one arrives');

$response = get("$page?/tenants/acme/pages/x", $pages);
like($response->body, qr{the secret of /tenants/acme/pages/x},
     'a page that includes another one of its tenant');
is_deeply(paths_recorded(4),
          [ "start $page", 'start /tenants/acme/pages/x',
            "end $page allow", 'end /tenants/acme/pages/x allow' ],
          'both are on record');
arrived();


# What was refused in one gated place is not led on to the next one

$response = get('/included/?/tenants/acme/lost/x');
like($response->body, qr/401 Authorization Required/,
     'a page that would include what is refused');
unlike($response->body, qr/secret/, 'has nothing instead of it');
is_deeply(paths_recorded(1), [ 'end /tenants/acme/lost/x no_token' ],
          'which is on record');
arrived();


# What is judged is what is passed on, also while others are judged: with a
# new grant each waits for its signature

for my $case ([ '/tenants/globex/mail/x', 3 ], [ '/tenants/acme/mail/y', 4 ]) {
    my ($next, $records) = @$case;

    $response = get("/included/?$secret,$next", $t->grant);

    like($response->body, qr/secret of $secret/, "a page with $next as well");
    is((grep { $_->{uri} eq $secret } $t->upstream_requests)
           [-1]{headers}{'x-tenant'},
       'acme', 'is about the tenant that was judged');
    is(@{ paths_recorded($records) }, $records, 'each is on record');
}

arrived();


# Slices of one response are one access

$response = get('/tenants/acme/pages/long', $pages);
is(length $response->body, 5000, 'a response in slices');
is_deeply(paths_recorded(2),
          [ 'start /tenants/acme/pages/long',
            'end /tenants/acme/pages/long allow' ],
          'is one access');
is(@{ arrived() }, 5, 'of five requests to the tenant API');

is(get('/tenants/acme/pages/long')->status, 401, 'no slice without a grant');
is_deeply(arrived(), [], 'arrives');

done_testing;
